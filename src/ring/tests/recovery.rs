//! Recovery, step by step: each case of `ring::recover` by name.
