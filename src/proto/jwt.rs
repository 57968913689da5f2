//! Signed tokens in their compact form (RFC 7515 §7.1), read without believing a word of them.
//!
//! Everything is bounded before anything is parsed: octets, depth, and that no name stands twice
//! in an object. Two readers that take different ones of two `sub` are how tokens are forged.
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Map;
use serde_json::Number;
use serde_json::Value;

use crate::domain::limits;

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// More octets than any token has.
    #[error("the token is too long")]
    TooLong,
    /// Not three parts, each in base64url without padding.
    #[error("not a signed token")]
    Form,
    /// A part is no JSON object, is too deep, or names something twice.
    #[error("the token's JSON is refused: {0}")]
    Json(JsonError),
    /// It wants to be understood in a way that we do not know (RFC 7515 §4.1.11).
    #[error("the token has critical extensions")]
    Critical,
}

/// Why an octet string is no JSON object that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More octets than allowed.
    #[error("too long")]
    TooLong,
    /// Objects in objects in objects.
    #[error("too deep")]
    TooDeep,
    /// No JSON, no object, or a name twice (RFC 7519 §4).
    #[error("no object of unique names")]
    Form,
}

/// A token as it says itself. Nothing of it is true before its signature is verified.
#[derive(Debug)]
pub struct Jwt<'a> {
    /// `alg` of the header.
    pub algorithm: String,
    /// `kid` of the header.
    pub key_id: Option<String>,
    /// `typ` of the header, without `application/`, in small letters.
    pub header_type: Option<String>,
    /// What it claims.
    pub claims: Claims,
    /// What is signed.
    pub signed: &'a str,
    /// The signature, in base64url.
    pub signature: &'a str,
}

impl<'a> Jwt<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`JwtError`], before anything costs more than a look at each octet.
    pub fn parse(text: &'a str) -> Result<Self, JwtError> {
        if text.len() > limits::TOKEN_OCTETS_MAX {
            return Err(JwtError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwtError::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(JwtError::Form)?;
        if claims.contains('.') {
            return Err(JwtError::Form);
        }
        let object = |part: &str| {
            let octets = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Form)?;
            object(&octets, limits::TOKEN_OCTETS_MAX).map_err(JwtError::Json)
        };
        let header = Claims(object(header)?);
        if header.0.contains_key("crit") {
            return Err(JwtError::Critical);
        }
        let kind = header.text("typ").map(|kind| {
            let kind = kind.to_ascii_lowercase();
            kind.strip_prefix("application/").map(str::to_owned).unwrap_or(kind)
        });
        Ok(Self {
            algorithm: header.text("alg").ok_or(JwtError::Form)?.to_owned(),
            key_id: header.text("kid").map(str::to_owned),
            header_type: kind,
            claims: Claims(object(claims)?),
            signed,
            signature,
        })
    }
}

/// An object of claims (RFC 7519 §4), with each name once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Reads an object of at most so many octets.
    ///
    /// # Errors
    /// [`JsonError`].
    pub fn parse(octets: &[u8], octets_max: usize) -> Result<Self, JsonError> {
        object(octets, octets_max).map(Self)
    }

    /// A claim that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// A claim that is a moment (NumericDate), in seconds; part of a second is cut off.
    pub fn seconds(&self, name: &str) -> Option<u64> {
        let value = self.0.get(name)?;
        let whole = value.as_f64().filter(|it| (0.0..9e15).contains(it)).map(|it| it as u64);
        value.as_u64().or(whole)
    }

    /// A claim that is true or false.
    pub fn truth(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    /// A claim that is an object.
    pub fn object(&self, name: &str) -> Option<Self> {
        self.0.get(name)?.as_object().cloned().map(Self)
    }

    /// The texts of a claim that is one text or a list of them, as `aud` is.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.0.get(name) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// True when the claim is there, whatever it is.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Reads one JSON object, bounded, with unique names at every depth.
fn object(octets: &[u8], octets_max: usize) -> Result<Map<String, Value>, JsonError> {
    if octets.len() > octets_max {
        return Err(JsonError::TooLong);
    }
    if depth(octets) > limits::JSON_DEPTH_MAX {
        return Err(JsonError::TooDeep);
    }
    match serde_json::from_slice(octets) {
        Ok(Unique(Value::Object(map))) => Ok(map),
        _ => Err(JsonError::Form),
    }
}

/// How deep brackets stand in each other; brackets in texts do not count.
fn depth(octets: &[u8]) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for octet in octets {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' if !in_text => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A JSON value whose objects have each name once.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with unique names")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Unique(value))) = object.next_entry::<String, Unique>()? {
            if map.insert(name, value).is_some() {
                return Err(serde::de::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.AAAA", part(header), part(claims))
    }

    #[test]
    fn a_token_is_read_as_it_says_itself() {
        let text = token(
            r#"{"alg":"RS256","kid":"k1","typ":"application/AT+JWT"}"#,
            r#"{"sub":"a","exp":1795257015.9,"aud":["x","y"],"deep":{"a":[1]}}"#,
        );
        let jwt = Jwt::parse(&text).unwrap();
        assert_eq!(jwt.algorithm, "RS256");
        assert_eq!(jwt.key_id.as_deref(), Some("k1"));
        assert_eq!(jwt.header_type.as_deref(), Some("at+jwt"));
        assert_eq!(jwt.claims.text("sub"), Some("a"));
        assert_eq!(jwt.claims.seconds("exp"), Some(1_795_257_015));
        assert_eq!(jwt.claims.texts("aud"), ["x", "y"]);
        assert_eq!(format!("{}.AAAA", jwt.signed), text);
    }

    #[test]
    fn a_claim_that_stands_twice_is_no_claim() {
        for claims in [
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"sub":"a","\u0073ub":"b"}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
        ] {
            let text = token(r#"{"alg":"RS256"}"#, claims);
            assert_eq!(Jwt::parse(&text).unwrap_err(), JwtError::Json(JsonError::Form), "{claims}");
        }
        let text = token(r#"{"alg":"none","alg":"RS256"}"#, "{}");
        assert_eq!(Jwt::parse(&text).unwrap_err(), JwtError::Json(JsonError::Form));
    }

    #[test]
    fn size_and_depth_are_bounded_before_anything_is_parsed() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(3_000), "]".repeat(3_000));
        let text = token(r#"{"alg":"RS256"}"#, &deep);
        assert_eq!(Jwt::parse(&text).unwrap_err(), JwtError::Json(JsonError::TooDeep));
        let brackets_in_text = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(99), "{".repeat(99));
        assert!(Jwt::parse(&token(r#"{"alg":"RS256"}"#, &brackets_in_text)).is_ok());
        let long = token(r#"{"alg":"RS256"}"#, &" ".repeat(limits::TOKEN_OCTETS_MAX));
        assert_eq!(Jwt::parse(&long).unwrap_err(), JwtError::TooLong);
    }

    #[test]
    fn what_is_no_token_is_none() {
        for text in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.", "eyJhbGciOjF9.e30.", "=.=.="] {
            assert!(Jwt::parse(text).is_err(), "{text}");
        }
        let critical = token(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#, "{}");
        assert_eq!(Jwt::parse(&critical).unwrap_err(), JwtError::Critical);
        assert_eq!(Claims::parse(b"[]", 10).unwrap_err(), JsonError::Form);
        assert_eq!(Claims::parse(b"{}", 1).unwrap_err(), JsonError::TooLong);
    }

    proptest! {
        #[test]
        fn no_octets_break_the_reader(text in "\\PC{0,200}", json in "[\\[\\]{}\",:0-9a\\\\]{0,200}") {
            let _ = Jwt::parse(&text);
            let _ = Jwt::parse(&token(r#"{"alg":"RS256"}"#, &json));
        }
    }
}
