//! What holds for every page: who may post, which headers go out, how errors look.
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::header;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;

use crate::server::web::pages::ErrorPage;
use crate::server::web::pages::Frame;
use crate::server::web::pages::Made;
use crate::server::web::pages::page;
use crate::server::web::session::LANG_COOKIE;
use crate::server::web::site;
use crate::server::web::texts::Lang;

/// Nothing is loaded, nothing runs, nobody frames us. `data:` is for nothing but ourselves: a
/// letter's pictures never reach a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The same for the few pages that ask an authenticator: one script, which is ours.
pub const POLICY_WITH_SCRIPT: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                                      img-src 'self' data:; form-action 'self'; \
                                      frame-ancestors 'none'; base-uri 'none'";

/// The header fields of every response.
const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Stands before every handler.
pub async fn watch(request: Request, next: Next) -> Response {
    let asked = site::asked_language(request.uri().query());
    let lang = site::language(request.headers(), request.uri().query());
    let path = request.uri().path().to_owned();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);

    let response =
        if reads || is_own_form(request.headers(), request.uri().authority().map(|a| a.as_str())) {
            next.run(request).await
        } else {
            StatusCode::FORBIDDEN.into_response()
        };
    let mut response = as_page(response, lang, &path);
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Some(asked) = asked {
        remember(asked, response.headers_mut());
    }
    response
}

/// True unless the browser says that the form is another site's.
///
/// The form's own token decides; this is the second wall. A browser that hides its origin
/// sends `null` (ours does, because of `Referrer-Policy: no-referrer`), so that is no proof of
/// guilt, and a browser too old for either header is judged by its token alone.
fn is_own_form(headers: &HeaderMap, authority: Option<&str>) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let fetch_site = text(&HeaderName::from_static("sec-fetch-site"));
    if !matches!(fetch_site, None | Some("same-origin" | "none")) {
        return false;
    }
    match text(&header::ORIGIN) {
        None | Some("null") => true,
        Some(origin) => {
            // HTTP/2 carries the host as `:authority`.
            let host = authority.or_else(|| text(&header::HOST));
            host.is_some_and(|host| {
                origin.strip_prefix("https://").is_some_and(|site| site.eq_ignore_ascii_case(host))
            })
        }
    }
}

/// Gives an error that the framework answered a page of its own.
fn as_page(response: Response, lang: Lang, path: &str) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.extensions().get::<Made>().is_some() {
        return response;
    }
    let mut made = error(status, lang, path);
    if let Some(allow) = response.headers().get(header::ALLOW) {
        made.headers_mut().insert(header::ALLOW, allow.clone());
    }
    made
}

/// The page of an error.
pub fn error(status: StatusCode, lang: Lang, path: &str) -> Response {
    let t = lang.texts();
    let (heading, text) = match status {
        StatusCode::FORBIDDEN => (t.error_403_title, t.error_403),
        StatusCode::NOT_FOUND => (t.error_404_title, t.error_404),
        StatusCode::METHOD_NOT_ALLOWED => (t.error_405_title, t.error_405),
        StatusCode::REQUEST_TIMEOUT => (t.error_408_title, t.error_408),
        StatusCode::PAYLOAD_TOO_LARGE => (t.error_413_title, t.error_413),
        status if status.is_client_error() => (t.error_400_title, t.error_400),
        _ => (t.error_500_title, t.error_500),
    };
    let frame = Frame::new(lang, heading, path);
    page(status, &ErrorPage { frame, text })
}

/// Keeps the chosen language for a year. Not personal, but nobody else's business either.
fn remember(lang: Lang, headers: &mut HeaderMap) {
    let cookie = format!(
        "{LANG_COOKIE}={}; Path=/; Max-Age=31536000; Secure; HttpOnly; SameSite=Lax",
        lang.tag()
    );
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        headers.append(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_pages_with_our_script_allows_that_and_nothing_else_besides() {
        assert_eq!(POLICY_WITH_SCRIPT.replace(" script-src 'self';", ""), POLICY);
        assert!(!POLICY_WITH_SCRIPT.contains("unsafe") && !POLICY.contains("script"));
    }

    #[test]
    fn a_form_of_another_site_is_known_by_what_the_browser_says() {
        for (site, origin, own) in [
            (None, None, true),
            (Some("same-origin"), Some("null"), true),
            (Some("none"), None, true),
            (Some("same-origin"), Some("https://inbox.test:10443"), true),
            (None, Some("https://INBOX.test:10443"), true),
            (None, Some("https://inbox.test"), false),
            (None, Some("http://inbox.test:10443"), false),
            (None, Some("https://evil.example"), false),
            (Some("same-origin"), Some("https://evil.example"), false),
            (Some("cross-site"), None, false),
            (Some("same-site"), Some("null"), false),
            (Some("\u{e9}"), None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("inbox.test:10443"));
            if let Some(site) = site {
                let value = HeaderValue::from_bytes(site.as_bytes()).unwrap();
                headers.insert("sec-fetch-site", value);
            }
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_own_form(&headers, None), own, "{site:?} {origin:?}");
        }
    }
}
