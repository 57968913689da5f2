//! The administrators' command line: the same requests over a Unix socket of a running relay,
//! or on the store of a stopped one.
