//! IMAP4rev1, server side (RFC 3501): grammar, responses, the session as a machine.
