//! The national mailbox extraction: 31 columns by header name, `|`, LF or CRLF.
