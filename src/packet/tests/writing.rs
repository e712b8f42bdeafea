//! Opening a packet as one of several types.
