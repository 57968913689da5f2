//! SMTP, server side (RFC 5321).
