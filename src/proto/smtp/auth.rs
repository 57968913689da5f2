//! The base64 of AUTH (RFC 4954 §4). What is in it, the mechanisms know (`proto::sasl`).
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::secret::Secret;
use crate::proto::smtp::command::InitialResponse;
use crate::proto::smtp::line::Line;
use crate::proto::smtp::reply;
use crate::proto::smtp::reply::Reply;

/// What came with the command itself; a lone `=` is an empty response, not a missing one.
///
/// # Errors
/// 501 when it is not base64.
pub fn initial(response: &InitialResponse) -> Result<Secret<Vec<u8>>, Reply> {
    match response.expose() {
        "=" => Ok(Secret::new(Vec::new())),
        base64 => decoded(base64.as_bytes()),
    }
}

/// The client's answer to a challenge.
///
/// # Errors
/// The reply that ends the exchange: it was cancelled, too long, or not base64.
pub fn answer(line: Line<'_>) -> Result<Secret<Vec<u8>>, Reply> {
    match line {
        Line::Whole(b"*") => Err(reply::AUTH_CANCELLED),
        Line::Whole(base64) => decoded(base64),
        Line::BadEnds => Err(reply::LINE_ENDS),
        Line::TooLong => Err(reply::AUTH_LINE_TOO_LONG),
    }
}

/// The 334 with this challenge.
pub fn challenge(octets: &Secret<Vec<u8>>) -> Reply {
    Reply::challenge(STANDARD.encode(octets.expose()))
}

fn decoded(base64: &[u8]) -> Result<Secret<Vec<u8>>, Reply> {
    STANDARD.decode(base64).map(Secret::new).map_err(|_| reply::BAD_BASE64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::smtp::command::Command;

    fn of_command(line: &str) -> Result<Vec<u8>, u16> {
        let Ok(Command::Auth(_, Some(response))) = Command::parse(line.as_bytes()) else {
            panic!("not AUTH with a response: {line}");
        };
        initial(&response).map(|octets| octets.expose().clone()).map_err(|reply| reply.code())
    }

    fn of_line(line: Line<'_>) -> Result<Vec<u8>, u16> {
        answer(line).map(|octets| octets.expose().clone()).map_err(|reply| reply.code())
    }

    #[test]
    fn a_response_is_base64_and_a_lone_equals_sign_is_an_empty_one() {
        assert_eq!(of_command("AUTH PLAIN AHUAcHc="), Ok(b"\0u\0pw".to_vec()));
        assert_eq!(of_command("auth plain ="), Ok(Vec::new()));
        assert_eq!(of_line(Line::Whole(b"AHUAcHc=")), Ok(b"\0u\0pw".to_vec()));
        assert_eq!(of_line(Line::Whole(b"")), Ok(Vec::new()));
        for wrong in ["!", "AHUAcHc", "AHUAcHc==", "A"] {
            assert_eq!(of_command(&format!("AUTH PLAIN {wrong}")), Err(501), "{wrong}");
            assert_eq!(of_line(Line::Whole(wrong.as_bytes())), Err(501), "{wrong}");
        }
    }

    #[test]
    fn a_star_cancels_and_too_much_is_500() {
        assert_eq!(of_line(Line::Whole(b"*")), Err(501));
        assert_eq!(of_line(Line::TooLong), Err(500));
        assert_eq!(challenge(&Secret::new(b"Username:".to_vec())).text(), "VXNlcm5hbWU6");
    }
}
