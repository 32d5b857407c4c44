//! `manifest.json`: what a backup consists of. Written beside the copies as they are made and published last, with its
//! own digest in `manifest.sha256`; read part by part, because a backup may have many.

use std::fmt;
use std::io::{BufReader, Write};
use std::path::Path;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Database, Error};
use crate::pipeline::files::artifact::{self, Draft, Taken};
use crate::pipeline::task::Digest;

/// The form of backups that this program makes and reads.
pub(super) const FORMAT: u32 = 1;
/// The manifest's name.
pub(super) const NAME: &str = "manifest.json";
/// The name of the file with its digest, in the form of `sha256sum`.
const DIGEST_NAME: &str = "manifest.sha256";

/// What a backup is, beside its parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The form of the backup.
    pub format: u32,
    /// Always `shopctl`.
    pub program: String,
    /// The version of the program that made it.
    pub version: String,
    /// The commit of that program.
    pub commit: String,
    /// When it was begun, UTC.
    pub created_at: String,
    /// The shared folder that it was made of.
    pub shared: String,
    /// `pipeline.shards_count` at that time.
    pub shards_count: u8,
    /// The databases that are on servers, and so not in it.
    pub servers: Vec<Database>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Where it is in the backup.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
    /// The database that it is a copy of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub database: Option<Database>,
    /// The migrations that were applied to that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schema: Option<usize>,
}

/// A manifest being written.
pub(super) struct Writer {
    draft: Draft,
    is_empty: bool,
}

impl Writer {
    pub(super) fn begin(dir: &Path, header: &Header) -> Result<Self, Error> {
        let mut draft = Draft::create(&dir.join(NAME), 0)?;
        let header = serde_json::to_string_pretty(header).map_err(|e| Error::Failed(e.to_string()))?;
        let open = header.trim_end_matches('}').trim_end();
        write!(draft, "{open},\n  \"parts\": [")?;
        Ok(Self { draft, is_empty: true })
    }

    pub(super) fn add(&mut self, part: &Part) -> Result<(), Error> {
        let part = serde_json::to_string(part).map_err(|e| Error::Failed(e.to_string()))?;
        let comma = if self.is_empty { "" } else { "," };
        self.is_empty = false;
        write!(self.draft, "{comma}\n    {part}")?;
        Ok(())
    }

    /// Makes the backup whole.
    pub(super) fn publish(mut self, dir: &Path) -> Result<(), Error> {
        self.draft.write_all(b"\n  ]\n}\n")?;
        let sha256 = self.draft.seal()?.sha256;
        let mut digest = Draft::create(&dir.join(DIGEST_NAME), 0)?;
        digest.write_line(format!("{sha256}  {NAME}").as_bytes())?;
        digest.publish(Taken::Refuse)?;
        self.draft.publish(Taken::Refuse)?;
        Ok(())
    }
}

/// Reads the manifest of a backup, after its own digest was compared, and hands each part on.
pub(super) fn read(dir: &Path, each: &mut dyn FnMut(Part) -> Result<(), Error>) -> Result<Header, Error> {
    let path = dir.join(NAME);
    let mut file = artifact::open(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::Failed(format!(
            "{} has no {NAME}: it is no backup, or one that was interrupted; take another one",
            dir.display()
        )),
        _ => e.into(),
    })?;
    let found = artifact::digest(&mut file)?.sha256;
    let noted = std::io::read_to_string(artifact::open(&dir.join(DIGEST_NAME))?)?;
    if noted.split_whitespace().next().and_then(|digest| digest.parse().ok()) != Some(found) {
        return Err(Error::Failed(format!(
            "corrupt: {} is not what {DIGEST_NAME} says; take another backup",
            path.display()
        )));
    }
    let mut fault = None;
    let document = Document { each, fault: &mut fault };
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(file));
    let read = document.deserialize(&mut reader).and_then(|header| serde_json::from_value(header.into()));
    match (fault, read) {
        (Some(fault), _) => Err(fault),
        (None, Err(e)) => Err(Error::Failed(format!("{} cannot be read: {e}", path.display()))),
        (None, Ok(header)) => checked(header, dir),
    }
}

fn checked(header: Header, dir: &Path) -> Result<Header, Error> {
    if header.format == FORMAT {
        return Ok(header);
    }
    Err(Error::Failed(format!(
        "{} is a backup of form {}, made by version {}; this program reads form {FORMAT}",
        dir.display(),
        header.format,
        header.version
    )))
}

/// The whole document; its parts are handed on, the rest is the header.
struct Document<'a> {
    each: &'a mut dyn FnMut(Part) -> Result<(), Error>,
    fault: &'a mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { each, fault } = self;
        let mut header = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "parts" {
                map.next_value_seed(Parts { each: &mut *each, fault: &mut *fault })?;
            } else {
                header.insert(key, map.next_value()?);
            }
        }
        Ok(header)
    }
}

struct Parts<'a> {
    each: &'a mut dyn FnMut(Part) -> Result<(), Error>,
    fault: &'a mut Option<Error>,
}

impl<'de> DeserializeSeed<'de> for Parts<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Parts<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parts of a backup")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<(), A::Error> {
        while let Some(part) = parts.next_element()? {
            if let Err(fault) = (self.each)(part) {
                *self.fault = Some(fault);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}
