//! Redis or Valkey as the store of a fleet: many brokers on one ledger.
