//! Text that must not be shown: access tokens.

use std::fmt;

/// What stands where a secret would stand.
pub const MASK: &str = "***";

/// A secret. It prints as a mask, so that no log, error or dump of settings can give it away by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps this text secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the two places that need it: sending it, and taking its digest.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// A URL with its password hidden, `mysql://shop:***@host/db`, also where the password has characters that ought to be
/// escaped, and with the values of parameters that are named like secrets hidden too.
pub fn mask(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (place, query) = match rest.split_once('?') {
        // A question mark of an unescaped password is no beginning of parameters.
        Some((place, query)) if !query.contains('@') => (place, Some(query)),
        _ => (rest, None),
    };
    let place = match place.rsplit_once('@').map(|(login, host)| (login.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{user}:{MASK}@{host}"),
        _ => place.to_owned(),
    };
    let query = query.map(|query| query.split('&').map(mask_parameter).collect::<Vec<_>>().join("&"));
    format!("{scheme}://{place}{}", query.map_or_else(String::new, |query| format!("?{query}")))
}

fn mask_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if ["pass", "pwd", "secret", "token"].iter().any(|part| name.to_lowercase().contains(part)) => {
            format!("{name}={MASK}")
        }
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_a_mask() {
        let secret = Secret::new("canary-of-the-unit-test");
        let text = format!("{secret} {secret:?} {:?} {:#?}", Some(&secret), vec![secret.clone()]);
        assert!(!text.contains("canary") && text.starts_with("*** ***"), "{text}");
        assert_eq!(secret.expose(), "canary-of-the-unit-test");
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        for (text, masked) in [
            ("mysql://shop:se:cr@t@host:3306/db", "mysql://shop:***@host:3306/db"),
            ("mysql://shop:se/cr?et@host/db", "mysql://shop:***@host/db"),
            ("mysql://:secret@host/db?ssl=1&Password=x&b", "mysql://:***@host/db?ssl=1&Password=***&b"),
            ("mysql://shop@host/db", "mysql://shop@host/db"),
            ("mysql://shop:pw@host-{shard}/shop_shard_{shard}", "mysql://shop:***@host-{shard}/shop_shard_{shard}"),
            ("http://host:8082/a", "http://host:8082/a"),
            ("http://host/a@b:c", "http://host/a@b:c"),
            ("./shared", "./shared"),
        ] {
            assert_eq!(mask(text), masked);
        }
    }
}
