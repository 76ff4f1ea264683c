"""The REST API of a database in PostgREST's dialect: request -> plan -> sql -> run -> response.

`query.py` and `schema.py` hold the values that the stages exchange: what an address asks for, and
what the database has.
"""
