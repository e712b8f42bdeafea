//! The envelope of a letter: sixteen bytes and a name, there and back.
