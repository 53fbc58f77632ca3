//! Secrets of ours, taken out of what the other side says: proxies and platforms repeat headers in their errors, and
//! brokers a login.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;
use zeroize::Zeroizing;

/// What a secret is replaced by.
const INSTEAD: &str = "(secret)";

/// Shorter ones would be found in any text, and hide nothing.
const LENGTH_MIN: usize = 4;

/// The password that every RabbitMQ begins with; it is also its user's name.
const PUBLIC: &str = "guest";

/// Fields of an answer that are used as they are: where a broker is, who logs in there, and names of queues. Only a token
/// is taken out of these, which no platform has a reason to put there.
const USED: [&str; 8] = ["host", "vhost", "user", "pass", "push", "push_routing", "push_exchange", "id"];

/// Secrets in the forms in which they may come back.
#[derive(Clone, Default)]
pub struct Secrets {
    token: Vec<Zeroizing<String>>,
    passwords: Vec<Zeroizing<String>>,
}

impl Secrets {
    /// With the platform's token, if there is one.
    pub fn with_token(token: Option<&str>) -> Self {
        let mut secrets = Self::default();
        secrets.token.extend(token.into_iter().flat_map(forms));
        secrets
    }

    /// Adds the password of a broker's user.
    pub fn add_password(&mut self, password: &str) {
        if password != PUBLIC {
            self.passwords.extend(forms(password));
        }
    }

    /// A text of the other side without them.
    pub fn out_of(&self, text: &str) -> String {
        without(text, self.token.iter().chain(&self.passwords))
    }

    /// An answer of the platform without them.
    pub fn out_of_answer(&self, answer: &mut Value) {
        self.out_of_field("", answer);
    }

    fn out_of_field(&self, name: &str, value: &mut Value) {
        match value {
            // It is a secret itself, and goes nowhere but to the broker.
            Value::String(_) if name == "pass" => {}
            Value::String(text) if USED.contains(&name) => *text = without(text, self.token.iter()),
            Value::String(text) => *text = self.out_of(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.out_of_field(name, item)),
            Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| self.out_of_field(name, value)),
            _ => {}
        }
    }
}

fn without<'a>(text: &str, forms: impl Iterator<Item = &'a Zeroizing<String>> + Clone) -> String {
    let mut text = text.to_owned();
    for form in forms.clone() {
        if text.contains(form.as_str()) {
            text = text.replace(form.as_str(), INSTEAD);
        }
    }
    // Whatever of it is written with %, in whichever way.
    let decoded = percent_decoded(&text);
    if decoded.as_ref().is_some_and(|decoded| forms.clone().any(|form| decoded.contains(form.as_str()))) {
        return INSTEAD.to_owned();
    }
    text
}

/// The secret itself, in base64 (also as a part of something longer, such as a login), and in hexadecimal.
fn forms(secret: &str) -> Vec<Zeroizing<String>> {
    if secret.chars().count() < LENGTH_MIN {
        return Vec::new();
    }
    let mut forms = vec![Zeroizing::new(secret.to_owned())];
    for before in 0..3 {
        let padded = Zeroizing::new([&vec![0; before][..], secret.as_bytes()].concat());
        for encoded in [STANDARD.encode(&*padded), URL_SAFE.encode(&*padded)].map(Zeroizing::new) {
            // The characters that depend on this secret alone.
            let (from, to) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
            if to >= from + LENGTH_MIN {
                forms.push(Zeroizing::new(encoded[from..to].to_owned()));
            }
        }
    }
    let hex = |upper: bool| {
        let digits = |b: u8| if upper { format!("{b:02X}") } else { format!("{b:02x}") };
        Zeroizing::new(secret.bytes().map(digits).collect::<String>())
    };
    forms.extend([hex(false), hex(true)]);
    forms.dedup();
    forms
}

/// What is written with %, if anything is.
fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return None;
    }
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match digits.filter(|_| *byte == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = &behind[2..];
            }
            None => {
                out.push(*byte);
                rest = behind;
            }
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "0f3c1b2a-SECRET-9";
    const PASSWORD: &str = "pÄss/w:rd";

    fn secrets() -> Secrets {
        let mut secrets = Secrets::with_token(Some(TOKEN));
        secrets.add_password(PASSWORD);
        secrets
    }

    #[test]
    fn secret_is_removed_from_a_text_in_every_form() {
        let in_base64 = |text: &str| STANDARD.encode(text);
        for said in [
            format!("bad header authorization: Bearer {TOKEN}"),
            format!("token={TOKEN}{TOKEN}"),
            format!("basic {}", in_base64(&format!("user:{PASSWORD}"))),
            format!("sasl {}", in_base64(&format!("\0guest\0{PASSWORD}"))),
            format!("sasl {}", in_base64(&format!("\0a\0{PASSWORD}"))),
            format!("{} {}", in_base64(TOKEN), in_base64(&format!("Bearer {TOKEN}"))),
            "to https://x/?p=p%C3%84ss%2fw%3Ard".to_owned(),
            "to https://x/?t=%30f3c1b2a%2DSECRET-9".to_owned(),
            TOKEN.bytes().map(|b| format!("{b:02x}")).collect(),
        ] {
            let shown = secrets().out_of(&said);
            let decoded = percent_decoded(&shown).unwrap_or_default();
            assert!(shown.contains(INSTEAD), "{said}: {shown}");
            assert!(!shown.contains("SECRET") && !shown.contains("ss/w") && !decoded.contains("ss/w"), "{shown}");
            // Nor can it be read out of what is left in base64.
            for word in shown.split([' ', '(']) {
                let left = STANDARD.decode(word).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&left).contains("SECRET"), "{shown}");
            }
        }
    }

    #[test]
    fn text_without_a_secret_is_unchanged() {
        let mut secrets = secrets();
        secrets.add_password("guest");
        secrets.add_password("abc");
        for said in ["guest may not log in", "abc 100 % of it", "ACCESS_REFUSED", "%zz %4", ""] {
            assert_eq!(secrets.out_of(said), said);
        }
    }

    #[test]
    fn an_answer_keeps_what_is_used_and_loses_every_secret() {
        let mut secrets = Secrets::with_token(Some(TOKEN));
        secrets.add_password("opencti");
        let mut answer = json!({"errors": [{"message": format!("no {TOKEN}"), "extensions": {"code": "X opencti"}}],
            "config": {"connection": {"host": "opencti", "user": "opencti", "pass": "opencti"}, "push": TOKEN},
            "list": ["opencti", [TOKEN]], "number": 1});
        secrets.out_of_answer(&mut answer);
        let wanted = json!({"errors": [{"message": "no (secret)", "extensions": {"code": "X (secret)"}}],
            "config": {"connection": {"host": "opencti", "user": "opencti", "pass": "opencti"}, "push": "(secret)"},
            "list": ["(secret)", ["(secret)"]], "number": 1});
        assert_eq!(answer, wanted);
    }
}
