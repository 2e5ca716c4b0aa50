"""The ledger: clients of the Directory and the Notary, and the sender of transactions."""
