//! What every adapter has to do alike. An adapter mounts the suite in its own tests.
