"""The generated attack: every relation and function x actor x verb, against the declaration."""
