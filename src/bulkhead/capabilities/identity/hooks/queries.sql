-- name: get_timeout
-- How long statements of this transaction may take.
select current_setting('statement_timeout')

-- name: set_timeout
-- Bound the statements of this transaction from now on.
select set_config('statement_timeout', $1, true)
