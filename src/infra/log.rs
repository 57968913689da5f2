//! Set-up of tracing: pretty for people, JSON for programs. Never a subject, body, INS or secret.
