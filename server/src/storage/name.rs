//! Names of objects: made by the server, random, and used once.

use std::{fmt, str::FromStr};

use artifactd_domain::Suffix;

/// The folder below a storage root that belongs to the server.
pub(crate) const SYSTEM_FOLDER: &str = ".artifactd";

/// The folder of whole objects below [`SYSTEM_FOLDER`].
pub(crate) const OBJECTS_FOLDER: &str = "objects";

/// The folder of packs below [`SYSTEM_FOLDER`].
pub(crate) const PACKS_FOLDER: &str = "packs";

/// What a storage keeps a few words in.
pub(super) const NOTE: &str = "epoch";

/// What names begin with of files that lie where their owner put them.
const IN_PLACE: &str = "in-place";

/// All folders of finished objects.
pub(crate) const FOLDERS: [&str; 2] = [OBJECTS_FOLDER, PACKS_FOLDER];

const GENERATION_DIGITS: usize = 32;

/// The name of one object below `.artifactd` in the storage root: `objects/<2 hex>/<32 hex><suffix>`
/// for one that holds a content, `packs/<2 hex>/<32 hex>` for one that holds many.
///
/// No part of it comes from a user but the canonical suffix, which is drawn from
/// a fixed table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(String);

impl ObjectName {
    /// Names an object by a generation drawn at random.
    pub fn new(generation: [u8; 16], suffix: &Suffix) -> Self {
        Self::below(OBJECTS_FOLDER, generation, suffix)
    }

    /// Names a pack by a generation drawn at random.
    pub fn of_pack(generation: [u8; 16]) -> Self {
        Self::below(PACKS_FOLDER, generation, &Suffix::default())
    }

    /// Names a file that lies where its owner put it, by its path from the storage root.
    pub fn in_place(generation: [u8; 16], path: &str) -> Self {
        let hex: String = generation.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{IN_PLACE}/{hex}/{path}"))
    }

    /// The path of a file that lies where its owner put it, from the storage root.
    pub fn place(&self) -> Option<&str> {
        place_in(&self.0)
    }

    fn below(folder: &str, generation: [u8; 16], suffix: &Suffix) -> Self {
        let hex: String = generation.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{folder}/{}/{hex}{suffix}", &hex[..2]))
    }

    /// Whether it is the name of a pack.
    pub fn is_pack(&self) -> bool {
        self.0.split('/').next() == Some(PACKS_FOLDER)
    }

    /// The name, relative to the server's folder in the storage.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that holds it, such as `objects/3f`.
    pub(crate) fn folder(&self) -> &str {
        self.0.rsplit_once('/').expect("an object name has a folder").0
    }

    /// The last part, unique by itself.
    pub(crate) fn file_name(&self) -> &str {
        self.0.rsplit_once('/').expect("an object name has a folder").1
    }

    /// Its path from the storage root.
    pub(crate) fn path(&self) -> object_store::path::Path {
        use object_store::path::Path;
        match self.place() {
            Some(place) => Path::parse(place).unwrap_or_else(|_| Path::from(place)),
            None => Path::from(format!("{SYSTEM_FOLDER}/{}", self.0)),
        }
    }
}

/// The path in the name of a file in place.
fn place_in(name: &str) -> Option<&str> {
    let (generation, path) = name.strip_prefix(IN_PLACE)?.strip_prefix('/')?.split_once('/')?;
    let is_path = !path.is_empty() && path.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    (is_generation(generation) && is_path).then_some(path)
}

fn is_generation(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == GENERATION_DIGITS && text.bytes().all(is_hex)
}

/// The text is no object name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no object name")]
pub struct NameRefused(String);

impl FromStr for ObjectName {
    type Err = NameRefused;
    fn from_str(text: &str) -> Result<Self, NameRefused> {
        let refused = || NameRefused(text.to_owned());
        if place_in(text).is_some() {
            return Ok(Self(text.to_owned()));
        }
        let mut parts = text.split('/');
        let (Some(folder @ (OBJECTS_FOLDER | PACKS_FOLDER)), Some(shard), Some(file), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refused());
        };
        let generation = file.get(..GENERATION_DIGITS).ok_or_else(refused)?;
        let suffix = &file[GENERATION_DIGITS..];
        let is_known = || folder == OBJECTS_FOLDER && Suffix::of_name(&format!("x{suffix}")).as_str() == suffix;
        let known_suffix = suffix.is_empty() || is_known();
        if is_generation(generation) && shard == &generation[..2] && known_suffix {
            Ok(Self(text.to_owned()))
        } else {
            Err(refused())
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_keep_the_suffix() {
        let name = ObjectName::new([0xab; 16], &Suffix::of_name("x.tar.gz"));
        assert_eq!(name.as_str(), format!("objects/ab/{}.tar.gz", "ab".repeat(16)));
        assert!(!name.is_pack());
        assert_eq!(name.as_str().parse(), Ok(name));
        let name = ObjectName::of_pack([0xab; 16]);
        assert_eq!(name.as_str(), format!("packs/ab/{}", "ab".repeat(16)));
        assert!(name.is_pack());
        assert_eq!(name.as_str().parse(), Ok(name));
    }

    #[test]
    fn a_file_in_place_is_named_by_where_it_lies() {
        let name = ObjectName::in_place([0xab; 16], "raw/a b.csv");
        assert_eq!(name.place(), Some("raw/a b.csv"));
        assert_eq!(name.path().as_ref(), "raw/a b.csv");
        assert!(!name.is_pack());
        assert_eq!(name.as_str().parse(), Ok(name));
        assert_eq!(ObjectName::of_pack([0xab; 16]).place(), None);
    }

    #[test]
    fn other_texts_are_no_names() {
        let hex = "ab".repeat(16);
        for refused in [
            "".to_owned(),
            format!("objects/ac/{hex}"),
            format!("objects/ab/{hex}/.."),
            format!("objects/ab/{hex}.unknown"),
            format!("packs/ab/{hex}.csv"),
            format!("packs/ac/{hex}"),
            format!("staging/ab/{hex}"),
            format!("../ab/{hex}"),
            format!("objects/ab/{}", &hex[1..]),
            format!("objects/AB/{}", hex.to_uppercase()),
            format!("in-place/{hex}"),
            format!("in-place/{hex}/"),
            format!("in-place/{hex}/../a"),
            format!("in-place/{hex}//a"),
            format!("in-place/{}/a", &hex[1..]),
        ] {
            assert!(refused.parse::<ObjectName>().is_err(), "{refused}");
        }
    }
}
