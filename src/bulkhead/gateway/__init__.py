"""What Supabase's clients speak with: one API of theirs in front of each database."""
