//! Database URLs: `sqlite://PATH`; a shard's URL is a template with `{shard}` (contracts 7).

use std::fmt;
use std::path::PathBuf;

use crate::event::ShardId;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// An embedded database in this file.
    Sqlite(PathBuf),
}

impl StoreUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence that says what a URL must be.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        match text.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(PathBuf::from(path))),
            Some((scheme, _)) if scheme != "sqlite" => {
                Err(format!("databases of the kind '{scheme}' are not supported; use sqlite://PATH"))
            }
            _ => Err("a database is named by a URL: sqlite://PATH".to_owned()),
        }
    }

    /// Whether there is such a database; one on a server is only found out by asking it.
    pub fn exists(&self) -> bool {
        match self {
            Self::Sqlite(path) => path.exists(),
        }
    }

    /// The URL of one shard's database from the template.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the template.
    pub fn of_shard(template: &str, shard: ShardId) -> std::result::Result<Self, String> {
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_names_one_database_per_shard() {
        let shard = ShardId::new(3).unwrap();
        let url = StoreUrl::of_shard("sqlite:///d/shop_shard_{shard}.sqlite", shard).unwrap();
        assert_eq!(url, StoreUrl::Sqlite("/d/shop_shard_3.sqlite".into()));
        assert!(StoreUrl::of_shard("sqlite:///d/x.sqlite", shard).is_err());
        assert!(StoreUrl::parse("postgres://x").unwrap_err().contains("'postgres'"));
        assert!(StoreUrl::parse("sqlite://").is_err());
        assert!(StoreUrl::parse("/d/x.sqlite").is_err());
    }
}
