//! Strangers' HTML, made harmless: what remains is text with a little structure.
//!
//! Three walls, each enough on its own: this allow-list, the page's content security policy
//! (no script, no remote anything), and that no page with a letter runs script at all.
use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;

use ammonia::Builder;
use ammonia::UrlRelative;

/// HTML that only [`sanitise`] makes. Templates print it as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SafeHtml(String);

impl fmt::Display for SafeHtml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for SafeHtml {}

impl SafeHtml {
    /// True when nothing that can be read is left.
    pub fn is_blank(&self) -> bool {
        let mut inside_tag = false;
        !self.0.replace("&nbsp;", " ").chars().any(|c| {
            match c {
                '<' => inside_tag = true,
                '>' => inside_tag = false,
                _ => return !inside_tag && !c.is_whitespace(),
            }
            false
        })
    }
}

/// Elements that may stay. No `img`: a picture of a stranger is a beacon, and the ones that
/// come with the letter are attachments.
const ELEMENTS: [&str; 45] = [
    "a",
    "abbr",
    "b",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "ins",
    "kbd",
    "li",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
];

/// Elements whose content goes with them: what is inside is not meant to be read.
const REMOVED_WITH_CONTENT: [&str; 14] = [
    "script", "style", "title", "template", "noscript", "iframe", "object", "embed", "svg", "math",
    "head", "textarea", "select", "audio",
];

/// Elements that an HTML parser opens again in each new block until they are closed.
const FORMATTING: [&str; 13] =
    ["b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"];

/// Elements that never nest: a parser closes them by itself, or they have no content.
const NEVER_NESTED: [&str; 21] = [
    "p", "li", "dt", "dd", "td", "th", "tr", "tbody", "thead", "option", "br", "hr", "img",
    "input", "meta", "link", "col", "area", "base", "wbr", "source",
];

/// Elements open at the same time; real letters stay below a hundred.
const DEPTH_MAX: i64 = 1_000;

/// Keeps the structure, drops everything that acts, loads, hides or pretends. `None` when the
/// HTML is built to wear a parser out.
pub fn sanitise(html: &str) -> Option<SafeHtml> {
    let html = simplified(html)?;
    let cell = HashSet::from(["colspan", "rowspan"]);
    let attributes = HashMap::from([
        ("a", HashSet::from(["href"])),
        ("td", cell.clone()),
        ("th", cell),
        ("ol", HashSet::from(["start"])),
    ]);
    let clean = Builder::empty()
        .tags(HashSet::from(ELEMENTS))
        .clean_content_tags(HashSet::from(REMOVED_WITH_CONTENT))
        .tag_attributes(attributes)
        .generic_attributes(HashSet::from(["dir"]))
        .url_schemes(HashSet::from(["https", "mailto"]))
        .url_relative(UrlRelative::Deny)
        .link_rel(Some("noopener noreferrer nofollow"))
        .set_tag_attribute_value("a", "target", "_blank")
        .strip_comments(true)
        .clean(&html)
        .to_string();
    Some(SafeHtml(with_visible_targets(&clean)))
}

/// The same HTML with bare formatting elements, unless it nests too deep.
///
/// A parser opens every unclosed formatting element again in each new block, so a thousand
/// `<b a1>`, `<b a2>`… before a hundred thousand `<p>` would become a hundred million nodes.
/// It keeps only three that are alike, and without attributes all are alike. We drop those
/// attributes anyway. Not exact HTML: what this misreads still goes through the allow-list.
fn simplified(html: &str) -> Option<String> {
    let mut simple = String::with_capacity(html.len());
    let mut open: HashMap<String, i64> = HashMap::new();
    let mut depth = 0;
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        simple.push_str(before);
        let closing = tag[1..].starts_with('/');
        let name: String = tag[1..]
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .take(16)
            .collect::<String>()
            .to_ascii_lowercase();
        if !name.is_empty() && !NEVER_NESTED.contains(&name.as_str()) {
            let count = open.entry(name.clone()).or_default();
            let change = if !closing { 1 } else { -i64::from(*count > 0) };
            *count += change;
            depth += change;
            if depth > DEPTH_MAX {
                return None;
            }
        }
        if !closing && FORMATTING.contains(&name.as_str()) {
            simple.push('<');
            simple.push_str(&name);
            simple.push('>');
            rest = &tag[end_of_tag(tag)..];
        } else {
            simple.push('<');
            rest = &tag[1..];
        }
    }
    simple.push_str(rest);
    Some(simple)
}

/// Where a tag ends; a `>` in quotes is part of it.
fn end_of_tag(tag: &str) -> usize {
    let mut quote = None;
    for (place, octet) in tag.bytes().enumerate() {
        match (quote, octet) {
            (None, b'>') => return place + 1,
            (None, b'"' | b'\'') => quote = Some(octet),
            (Some(open), _) if open == octet => quote = None,
            _ => {}
        }
    }
    tag.len()
}

/// Writes behind each link where it leads, because its text may claim another place.
///
/// The text is the serialiser's own, so tags are well formed, attribute values are in double
/// quotes and links do not nest.
fn with_visible_targets(clean: &str) -> String {
    let mut shown = String::with_capacity(clean.len());
    let mut rest = clean;
    while let Some(start) = rest.find("<a ") {
        let (before, link) = rest.split_at(start);
        shown.push_str(before);
        let end = link.find("</a>").unwrap_or(link.len());
        let (opened, closed) = link.split_at(end);
        shown.push_str(opened);
        if let Some((target, text)) = target_and_text(opened)
            && text != target
        {
            let target = target.replace('<', "&lt;").replace('>', "&gt;");
            shown.push_str(" [");
            shown.push_str(&target);
            shown.push(']');
        }
        rest = closed;
    }
    shown.push_str(rest);
    shown
}

/// The `href` of an opening tag and what follows the tag, both still escaped.
fn target_and_text(link: &str) -> Option<(&str, &str)> {
    let (_, value) = link.split_once("href=\"")?;
    let (target, rest) = value.split_once('"')?;
    let (_, text) = rest.split_once('>')?;
    Some((target, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(html: &str) -> String {
        sanitise(html).unwrap().to_string()
    }

    #[test]
    fn nothing_that_acts_or_loads_survives() {
        for attack in [
            "<script>alert(1)</script>",
            "<scr<script>ipt>alert(1)</scr</script>ipt>",
            "<img src=x onerror=alert(1)>",
            "<img src=\"https://tracker.example/pixel.gif\">",
            "<img src=\"cid:logo\">",
            "<img srcset=\"https://tracker.example/2x.png 2x\">",
            "<p onclick=alert(1)>a</p>",
            "<a href=\"javascript:alert(1)\">a</a>",
            "<a href=\"jAvAsCrIpT&#58;alert(1)\">a</a>",
            "<a href=\" &#1; javascript:alert(1)\">a</a>",
            "<a href=\"java\tscript:alert(1)\">a</a>",
            "<a href=\"data:text/html,<script>alert(1)</script>\">a</a>",
            "<a href=\"vbscript:x\">a</a>",
            "<a href=\"http://plain.example/\">a</a>",
            "<a href=\"/admin/logout\">a</a>",
            "<a href=\"//evil.example/\">a</a>",
            "<div style=\"background:url(https://tracker.example/)\">a</div>",
            "<style>@import url(https://tracker.example/)</style>",
            "<style>body{background:url(https://tracker.example)}</style>",
            "<link rel=stylesheet href=https://tracker.example/a.css>",
            "<svg onload=alert(1)><script>alert(1)</script></svg>",
            "<svg><a xlink:href=\"javascript:alert(1)\"><text>a</text></a></svg>",
            "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
            "<meta http-equiv=refresh content=\"0;url=https://evil.example\">",
            "<base href=https://evil.example/>",
            "<iframe src=https://evil.example></iframe>",
            "<iframe srcdoc=\"<script>alert(1)</script>\"></iframe>",
            "<object data=https://evil.example></object><embed src=x>",
            "<form action=https://evil.example><input name=password></form>",
            "<button formaction=https://evil.example>a</button>",
            "<video poster=https://tracker.example/a.png><source src=x></video>",
            "<audio src=https://tracker.example/a></audio>",
            "<body background=https://tracker.example/>",
            "<table background=\"https://tracker.example/\"><tr><td>a",
            "<input type=image src=https://tracker.example/>",
            "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
            "<!--[if mso]><img src=https://tracker.example/><![endif]-->",
            "<xmp><p title=\"</xmp><img src=x onerror=alert(1)>\">",
            "<template><img src=x onerror=alert(1)></template>",
            "<details open ontoggle=alert(1)>",
            "<marquee onstart=alert(1)>",
            "<p id=main class=button>a</p>",
        ] {
            let html = clean(attack).to_lowercase();
            for trace in [
                "<script",
                "<img",
                "<svg",
                "<math",
                "<style",
                "<link",
                "<meta",
                "<base",
                "<iframe",
                "<object",
                "<embed",
                "<form",
                "<input",
                "<button",
                "<video",
                "<audio",
                "<body",
                "<template",
                "<!--",
                " on",
                "javascript:",
                "vbscript:",
                "data:",
                "src=",
                "style=",
                "background",
                "href=\"/",
                "href=\"http:",
                "class=",
                "id=",
            ] {
                // Escaped text may name anything; only markup acts.
                let markup = markup_of(&html);
                assert!(!markup.contains(trace), "{attack}\nleft {trace} in\n{html}");
            }
        }
    }

    /// The tags of a text, without what stands between them.
    fn markup_of(html: &str) -> String {
        let mut markup = String::new();
        let mut inside = false;
        for character in html.chars() {
            inside |= character == '<';
            if inside {
                markup.push(character);
            }
            inside &= character != '>';
        }
        markup
    }

    #[test]
    fn a_link_says_where_it_leads() {
        assert_eq!(
            clean("<a href=\"https://evil.example/?a=1&b=2\">https://bank.example</a>"),
            "<a href=\"https://evil.example/?a=1&amp;b=2\" target=\"_blank\" \
             rel=\"noopener noreferrer nofollow\">https://bank.example \
             [https://evil.example/?a=1&amp;b=2]</a>"
        );
        let honest = clean("<a href=\"https://sante.example/\">https://sante.example/</a>");
        assert!(!honest.contains('['), "{honest}");
        let mail = clean("<a href=\"mailto:a@b.fr\">Écrire</a><p>fin</p>");
        assert!(mail.contains("Écrire [mailto:a@b.fr]</a><p>fin</p>"), "{mail}");
    }

    #[test]
    fn a_link_target_cannot_become_markup() {
        let html = clean("<a href='https://x.example/\"><img src=x onerror=alert(1)>'>a</a>");
        assert!(!markup_of(&html).contains("<img"), "{html}");
        let html = clean("<a href='https://x.example/<img src=x onerror=alert(1)>'>a</a>");
        assert!(!html.contains("[https://x.example/<img"), "{html}");
    }

    #[test]
    fn text_and_structure_stay() {
        let html = clean("<h1>Titre</h1><p>Bonjour <b>Ada</b></p><ul><li>un</ul><td>seul</td>");
        assert!(html.contains("<h1>Titre</h1><p>Bonjour <b>Ada</b></p><ul><li>un</li></ul>"));
    }

    #[test]
    fn blank_html_is_known() {
        assert!(sanitise("<div>&nbsp;<br></div><img src=x>").unwrap().is_blank());
        assert!(!sanitise("<div>a</div>").unwrap().is_blank());
    }

    #[test]
    fn html_that_would_wear_the_parser_out_is_not_parsed() {
        assert_eq!(sanitise(&"<div><b>".repeat(10_000)), None);
        // Unclosed formatting elements, each different, then many blocks: without the
        // simplification 100 million nodes.
        let mut bomb: String = (0..900).map(|number| format!("<b a{number}>")).collect();
        bomb.push_str(&"<p>x".repeat(110_000));
        let html = clean(&bomb);
        assert!(html.len() < 20 * bomb.len(), "{} octets", html.len());
        let quoted = "<b x='>'>a</b><font color=\"a>b\">c</font><B\nid=1>d</B>";
        assert_eq!(clean(quoted), "<b>a</b>c<b>d</b>");
    }

    #[test]
    fn long_plain_html_is_not_called_deep() {
        assert!(sanitise(&"<p>a<br>b<li>c<tr><td>d".repeat(5_000)).is_some());
        assert!(sanitise(&"<div><b>a</b></div>".repeat(5_000)).is_some());
    }
}
