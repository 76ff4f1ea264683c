-- name: count_rows_of
-- How many rows, perhaps of a page, refer to some keys.
select count(*)
from {table}
where {held}
  and {column} = any($1::text[]::{type}[])
  and {within}

-- name: empty_column
-- Take the reference out of the rows that hold it.
update {table}
set {column} = null
where {held}
  and {column} = any($1::text[]::{type}[])

-- name: delete_rows
-- Delete the rows that hold the reference.
delete from {table}
where {held}
  and {column} = any($1::text[]::{type}[])
