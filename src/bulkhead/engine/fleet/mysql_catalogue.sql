-- name: list_tables
-- Tables and views.
show full tables

-- name: list_triggers
-- Triggers with their bodies.
select trigger_name, event_manipulation, event_object_table, action_timing, action_statement,
  action_order
from information_schema.triggers
where trigger_schema = database()
order by trigger_name

-- name: list_routines
-- Procedures and functions with their bodies.
select routine_type, routine_name, dtd_identifier, routine_definition, is_deterministic,
  sql_data_access, security_type, routine_comment
from information_schema.routines
where routine_schema = database()
order by routine_type, routine_name

-- name: list_parameters
-- Parameters of procedures and functions.
select specific_name, ordinal_position, parameter_mode, parameter_name, dtd_identifier
from information_schema.parameters
where specific_schema = database()
order by specific_name, ordinal_position

-- name: list_events
-- What happens by itself.
select event_name, event_definition, event_type, execute_at, interval_value, interval_field,
  status, event_comment
from information_schema.events
where event_schema = database()
order by event_name
