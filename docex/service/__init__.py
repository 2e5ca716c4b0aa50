"""What docex does for a member, step by step; concrete storage, ledger and database come in as Protocols."""
