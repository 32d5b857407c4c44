//! Database URLs: `sqlite://PATH` and `mysql://USER:PASSWORD@HOST:PORT/DATABASE`; a shard's URL is a template with
//! `{shard}` (docs/contracts.md, 7).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

/// What a URL must be, for a person who wrote another.
const FORMS: &str = "use sqlite://PATH or mysql://USER:PASSWORD@HOST:PORT/DATABASE";
/// The port of MySQL and MariaDB where none is named.
const MYSQL_PORT: u16 = 3306;
/// What a time-out may be: enough for a server nearby, and an hour.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=3_600_000;
/// The longest name of a database.
const NAME_CHARS_MAX: usize = 64;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// An embedded database in this file.
    Sqlite(PathBuf),
    /// A database on a server that speaks MySQL's protocol.
    Mysql(Server),
}

/// A database on a MySQL or MariaDB server, and the user that logs in.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The user that logs in.
    pub user: String,
    /// With which password; never shown.
    pub password: Option<String>,
    /// The database: letters, digits and underscores only, so that it can stand in a statement.
    pub database: String,
    /// Whether and how the connection is encrypted.
    pub tls: Tls,
    /// How long the server may take for one answer; nothing for what fits each use.
    pub timeout: Option<Duration>,
}

/// What may stand behind the question mark.
#[derive(Default)]
struct Parameters {
    ssl_mode: Option<String>,
    ssl_ca: Option<PathBuf>,
    timeout: Option<Duration>,
}

/// How a connection is encrypted, by the words of MySQL's own clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Disabled,
    /// Encrypted; the server's certificate is not verified.
    Required,
    /// The server's certificate must be signed by a known authority, or by the one in this file.
    VerifyCa(Option<PathBuf>),
    /// The certificate must also be for this host.
    VerifyIdentity(Option<PathBuf>),
}

impl StoreUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence that says what a URL must be; the password is not in it.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        match text.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            Some(("mysql", _)) => Server::parse(text).map(Self::Mysql),
            Some((scheme, _)) if scheme != "sqlite" => {
                Err(format!("databases of the kind '{scheme}' are not supported; {FORMS}"))
            }
            _ => Err(format!("a database is named by a URL; {FORMS}")),
        }
    }

    /// Whether there is such an embedded database; nothing for one on a server, which only asking it tells.
    pub fn embedded_exists(&self) -> Option<bool> {
        match self {
            Self::Sqlite(path) => Some(path.exists()),
            Self::Mysql(_) => None,
        }
    }

    /// The URL of one shard's database from the template.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the template.
    pub fn of_shard(template: &str, shard: impl fmt::Display) -> std::result::Result<Self, String> {
        if !template.contains("{shard}") {
            return Err("the shard databases are named by a template with {shard} in it".to_owned());
        }
        Self::parse(&template.replace("{shard}", &shard.to_string()))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Mysql(server) => write!(f, "{server}"),
        }
    }
}

impl Server {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        // The parser's own messages are left out: they may quote the password.
        let url = Url::parse(text).map_err(|_| format!("not a URL; {FORMS}"))?;
        let decode = |part: &str| {
            let decoded = percent_decode_str(part).decode_utf8();
            decoded.map(|text| text.into_owned()).map_err(|_| "the URL is not UTF-8 after decoding".to_owned())
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| format!("names no host; {FORMS}"))?;
        let database = decode(url.path().trim_start_matches('/'))?;
        let known = database.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if database.is_empty() || database.len() > NAME_CHARS_MAX || !known {
            return Err(format!(
                "must name a database of 1 to {NAME_CHARS_MAX} letters, digits and underscores; {FORMS}"
            ));
        }
        if url.username().is_empty() {
            return Err(format!("names no user; {FORMS}"));
        }
        let parameters = Parameters::of(&url)?;
        Ok(Self {
            timeout: parameters.timeout,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(MYSQL_PORT),
            user: decode(url.username())?,
            password: url.password().map(decode).transpose()?,
            database,
            tls: parameters.tls()?,
        })
    }
}

impl Parameters {
    fn of(url: &Url) -> std::result::Result<Self, String> {
        let mut found = Self::default();
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "ssl-mode" => found.ssl_mode = Some(value.to_ascii_lowercase().replace('_', "-")),
                "ssl-ca" => found.ssl_ca = Some(PathBuf::from(value.into_owned())),
                "timeout-ms" => {
                    let ms = value.parse().ok().filter(|ms| TIMEOUT_MS.contains(ms));
                    let (least, most) = (TIMEOUT_MS.start(), TIMEOUT_MS.end());
                    let ms = ms.ok_or_else(|| format!("timeout-ms must be {least} to {most} milliseconds"))?;
                    found.timeout = Some(Duration::from_millis(ms));
                }
                other => {
                    return Err(format!(
                        "'{other}' is no parameter of a database; there are ssl-mode, ssl-ca and timeout-ms"
                    ));
                }
            }
        }
        Ok(found)
    }

    fn tls(self) -> std::result::Result<Tls, String> {
        let (mode, authority) = (self.ssl_mode, self.ssl_ca);
        match mode.as_deref() {
            None | Some("disabled") if authority.is_some() => {
                Err("ssl-ca needs ssl-mode=verify-ca or ssl-mode=verify-identity".to_owned())
            }
            None | Some("disabled") => Ok(Tls::Disabled),
            Some("required") => Ok(Tls::Required),
            Some("verify-ca") => Ok(Tls::VerifyCa(authority)),
            Some("verify-identity") => Ok(Tls::VerifyIdentity(authority)),
            Some(_) => Err("ssl-mode must be disabled, required, verify-ca or verify-identity".to_owned()),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = if self.password.is_some() { ":***" } else { "" };
        write!(f, "mysql://{}{password}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Server {
        match StoreUrl::parse(text).unwrap() {
            StoreUrl::Mysql(server) => server,
            other @ StoreUrl::Sqlite(_) => panic!("{other}"),
        }
    }

    #[test]
    fn a_template_names_one_database_per_shard() {
        let shard = 3_u8;
        let url = StoreUrl::of_shard("sqlite:///d/shop_shard_{shard}.sqlite", shard).unwrap();
        assert_eq!(url, StoreUrl::Sqlite("/d/shop_shard_3.sqlite".into()));
        let url = StoreUrl::of_shard("mysql://u@mysql-shard-{shard}/shop_shard_{shard}", shard).unwrap();
        assert_eq!(url.to_string(), "mysql://u@mysql-shard-3:3306/shop_shard_3");
        assert!(StoreUrl::of_shard("sqlite:///d/x.sqlite", shard).is_err());
        assert!(StoreUrl::parse("postgres://x").unwrap_err().contains("'postgres'"));
        assert!(StoreUrl::parse("sqlite://").is_err());
        assert!(StoreUrl::parse("/d/x.sqlite").is_err());
    }

    #[test]
    fn a_server_is_read_from_its_url_and_its_password_is_never_shown() {
        let found =
            server("mysql://ap%69d:p%40ss%2Fword@db.example:3307/pipeline_db?ssl-mode=VERIFY_IDENTITY&ssl-ca=/ca.pem");
        assert_eq!((found.user.as_str(), found.password.as_deref()), ("apid", Some("p@ss/word")));
        assert_eq!((found.host.as_str(), found.port), ("db.example", 3307));
        assert_eq!(found.tls, Tls::VerifyIdentity(Some("/ca.pem".into())));
        assert_eq!(format!("{found} {found:?}").matches("mysql://apid:***@db.example:3307/pipeline_db").count(), 2);
        assert_eq!(server("mysql://root@[::1]/d").host, "::1");
        assert_eq!((server("mysql://root@h/d").tls, server("mysql://root@h/d").timeout), (Tls::Disabled, None));
        assert_eq!(server("mysql://root@h/d?timeout-ms=250").timeout, Some(Duration::from_millis(250)));
    }

    #[test]
    fn what_a_server_url_lacks_is_said_without_its_password() {
        let cases = [
            ("mysql://u:geheim@h/", "database"),
            ("mysql://u:geheim@h/a-b", "database"),
            ("mysql://u:geheim@h/a`b", "database"),
            ("mysql://:geheim@h/d", "user"),
            ("mysql://u:geheim@h:99999/d", "not a URL"),
            ("mysql://u:geheim@h/d?pool=3", "'pool'"),
            ("mysql://u:geheim@h/d?ssl-mode=maybe", "ssl-mode"),
            ("mysql://u:geheim@h/d?ssl-ca=/x", "ssl-ca needs"),
            ("mysql://u:geheim@h/d?timeout-ms=99", "timeout-ms must be 100"),
            ("mysql://u:geheim@h/d?timeout-ms=soon", "timeout-ms must be 100"),
        ];
        for (text, expected) in cases {
            let why = StoreUrl::parse(text).unwrap_err();
            assert!(why.contains(expected) && !why.contains("geheim"), "{text}: {why}");
        }
    }
}
