//! Starts the library: everything is there.

fn main() {}
