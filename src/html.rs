//! HTML pages to print: markup is our literals alone, and everything else goes in as text.
//!
//! A [`Html`] cannot be made of a text, and takes none as markup: tags are `&'static str`, and what was read from
//! somewhere is escaped on its way in. Elements are closed by whoever opened them, so a page is always balanced.

use crate::text::visible_line;

/// Characters of one text on a page, at most. An officer's reason has 1,000 at most; a stranger's words may have more.
const LONGEST: usize = 2000;

/// What keeps a browser from fetching or running anything, whatever a page holds.
const POLICY: &str =
    r#"<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"#;

/// A page, as far as it is written.
#[derive(Debug)]
pub struct Html(String);

impl Html {
    /// A whole page in English with this title, this style sheet and this body.
    pub fn page(title: &str, style: &'static str, body: impl FnOnce(&mut Self)) -> String {
        let mut html = Self(String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"));
        html.0.push_str(POLICY);
        html.0.push('\n');
        html.element("title", title);
        html.within("style", |html| html.0.push_str(style));
        html.0.push_str("</head>\n");
        html.within("body", body);
        html.0.push_str("</html>\n");
        html.0
    }

    /// An element with what is written inside. `tag` is its name, with attributes behind it: `th scope="col"`.
    pub fn within(&mut self, tag: &'static str, inside: impl FnOnce(&mut Self)) {
        let (name, _) = tag.split_once(' ').unwrap_or((tag, ""));
        self.0.extend(["<", tag, ">"]);
        inside(self);
        self.0.extend(["</", name, ">"]);
        if !["b", "bdi", "code", "span"].contains(&name) {
            self.0.push('\n');
        }
    }

    /// An element that holds a text alone.
    pub fn element(&mut self, tag: &'static str, text: &str) {
        self.within(tag, |html| html.text(text));
    }

    /// A text of anybody. What acts on a page, or is not seen there, is escaped.
    pub fn text(&mut self, text: &str) {
        self.0.push_str(&escaped(&visible_line(text, LONGEST)));
    }

    /// A name that somebody else gave, whose direction of writing stays inside it.
    pub fn name(&mut self, name: &str) {
        self.element("bdi", name);
    }

    /// A line break.
    pub fn line_break(&mut self) {
        self.0.push_str("<br>");
    }
}

/// A text without what means something in HTML, in text and in attributes alike.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_stranger_is_text_on_the_page() {
        let strange = "<script>alert(1)</script>\"><img src=x onerror='a()'>&lt;\u{202e}\u{1b}[2J\n";
        let page = Html::page(strange, "", |html| {
            html.within("p class=\"x\"", |html| {
                html.name(strange);
                html.text(strange);
            });
        });
        let text = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&gt;&lt;img src=x onerror=&#39;a()&#39;&gt;&amp;lt;\\u{202e}\\u{1b}[2J\\u{a}";
        assert_eq!(page.matches(text).count(), 3, "{page}");
        assert!(page.contains(&format!("<p class=\"x\"><bdi>{text}</bdi>{text}</p>")), "{page}");
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    }

    #[test]
    fn long_text_is_cut_and_letters_of_all_scripts_stay() {
        let mut html = Html(String::new());
        html.text(&"&".repeat(LONGEST + 1));
        assert_eq!(html.0, "&amp;".repeat(LONGEST) + "…");
        let mut html = Html(String::new());
        html.text("Événements, 日本語, עברית 🦀");
        assert_eq!(html.0, "Événements, 日本語, עברית 🦀");
    }
}
