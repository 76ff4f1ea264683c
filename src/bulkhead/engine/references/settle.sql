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
