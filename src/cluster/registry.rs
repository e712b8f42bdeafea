//! A worker's handlers, in the order of adding.
