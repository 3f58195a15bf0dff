//! Real servers for tests: Redis and Valkey, alone, with replicas, watched by Sentinels, as a Cluster.
