"""What several applications need and none owns: identities, payments, the audit trail."""
