//! The master key, and the sealers that are derived from it.
//!
//! One 32-byte key seals whatever leaves the server and must come back unchanged
//! and unread: page tokens now, tickets and stored secrets later. Every purpose
//! has a key of its own, so a text that was sealed for one opens for no other.
//!
//! A sealed text begins with the id of its key, so that after a rotation old
//! texts are told from forged ones. Nothing here stores or prints a key.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};

use crate::storage::Secret;

const KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 4;
const FILE_NAME: &str = "master.key";
const FILE_MODE: u32 = 0o600;

/// Any access of others, and writing by the group.
const FORBIDDEN_MODE: u32 = 0o027;

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The key of the environment is not one.
    #[error("the master key in the environment {0}")]
    Environment(&'static str),
    /// The file holds no key.
    #[error("{} {what}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The file cannot be read or made.
    #[error("{}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The key that all sealers come from.
pub struct MasterKey {
    derived: hkdf::Prk,
    id: [u8; KEY_ID_BYTES],
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// Takes the key of the environment, else that of the data folder, else makes one there.
    pub fn load(from_environment: Option<&Secret>, data_dir: &Path) -> Result<Self, MasterKeyError> {
        if let Some(text) = from_environment {
            return decode(text.expose())
                .map(|key| Self::from_bytes(&key))
                .map_err(MasterKeyError::Environment);
        }
        let path = data_dir.join(FILE_NAME);
        let key = match File::open(&path) {
            Ok(file) => read_key(&path, file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(data_dir, &path)?,
            Err(source) => return Err(MasterKeyError::Io { path, source }),
        };
        Ok(Self::from_bytes(&key))
    }

    /// Uses these bytes as the key.
    pub fn from_bytes(key: &[u8; KEY_BYTES]) -> Self {
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, b"artifactd master key").extract(key);
        let mut id = [0; KEY_ID_BYTES];
        expand(&derived, "key id", &mut id);
        Self { derived, id }
    }

    /// A sealer whose texts open only for the same purpose.
    pub fn sealer(&self, purpose: &'static str) -> Sealer {
        let mut key = [0; KEY_BYTES];
        expand(&self.derived, purpose, &mut key);
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("an AES-256 key has 32 bytes");
        Sealer {
            key: LessSafeKey::new(key),
            id: self.id,
        }
    }
}

/// Seals and opens texts of one purpose.
pub struct Sealer {
    key: LessSafeKey,
    id: [u8; KEY_ID_BYTES],
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

impl Sealer {
    /// Seals some bytes: key id, nonce and encrypted bytes, in base64url.
    pub fn seal(&self, plain: &[u8]) -> String {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the operating system gives randomness");
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(self.id), &mut sealed)
            .expect("what is sealed is far below the limit of AES-GCM");
        let parts: [&[u8]; 3] = [&self.id, &nonce, &sealed];
        URL_SAFE_NO_PAD.encode(parts.concat())
    }

    /// Opens a text; `None` when it was not sealed by this key for this purpose,
    /// or was altered.
    pub fn open(&self, sealed: &str) -> Option<Vec<u8>> {
        let mut sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (id, rest) = sealed.split_at_mut_checked(KEY_ID_BYTES)?;
        let (nonce, rest) = rest.split_at_mut_checked(NONCE_LEN)?;
        if *id != self.id {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(self.id), rest).ok()?;
        Some(plain.to_vec())
    }
}

/// Whether a text is a master key; the message does not hold it.
pub(crate) fn check(text: &Secret) -> Result<(), &'static str> {
    decode(text.expose()).map(|_| ())
}

fn decode(text: &str) -> Result<[u8; KEY_BYTES], &'static str> {
    let text = text.trim();
    let bytes = match text.len() {
        64 => from_hex(text),
        43 if text.contains(['-', '_']) => URL_SAFE_NO_PAD.decode(text).ok(),
        43 => STANDARD_NO_PAD.decode(text).ok(),
        _ => STANDARD.decode(text).ok(),
    };
    let key: Option<[u8; KEY_BYTES]> = bytes.and_then(|bytes| bytes.try_into().ok());
    match key {
        Some(key) if key.iter().all(|byte| *byte == key[0]) => Err("repeats one byte and protects nothing"),
        Some(key) => Ok(key),
        None => Err("is not 32 bytes as base64 or as 64 hexadecimal digits"),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn read_key(path: &Path, file: File) -> Result<[u8; KEY_BYTES], MasterKeyError> {
    let refused = |what: String| MasterKeyError::File {
        path: path.to_owned(),
        what,
    };
    let io = |source| MasterKeyError::Io {
        path: path.to_owned(),
        source,
    };
    let mode = file.metadata().map_err(io)?.mode();
    if mode & FORBIDDEN_MODE != 0 {
        let mode = mode & 0o777;
        return Err(refused(format!(
            "has mode {mode:04o}, so others can read or change it; set 0600"
        )));
    }
    let text = io::read_to_string(file).map_err(io)?;
    decode(&text).map_err(|what| refused(what.to_owned()))
}

/// Makes a key under another name first, so that a crash leaves no half of one.
fn make_key(data_dir: &Path, path: &Path) -> Result<[u8; KEY_BYTES], MasterKeyError> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).expect("the operating system gives randomness");
    let draft = data_dir.join(format!("{FILE_NAME}.new"));
    let written = write_key(&draft, &key).and_then(|()| fs::rename(&draft, path));
    written
        .and_then(|()| File::open(data_dir)?.sync_all())
        .map_err(|source| MasterKeyError::Io {
            path: path.to_owned(),
            source,
        })?;
    tracing::info!("Made a master key in {}", path.display());
    Ok(key)
}

fn write_key(draft: &Path, key: &[u8; KEY_BYTES]) -> io::Result<()> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(draft)?;
    writeln!(file, "{}", STANDARD.encode(key))?;
    file.sync_all()
}

struct Bytes(usize);

impl hkdf::KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(from: &hkdf::Prk, purpose: &'static str, into: &mut [u8]) {
    from.expand(&[purpose.as_bytes()], Bytes(into.len()))
        .and_then(|key| key.fill(into))
        .expect("HKDF gives up to 8,160 bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MasterKey {
        let mut bytes = [7; KEY_BYTES];
        bytes[0] = 1;
        MasterKey::from_bytes(&bytes)
    }

    #[test]
    fn what_is_sealed_opens_again_also_after_a_restart() {
        let sealed = key().sealer("page token").seal(b"after key 17");
        assert_eq!(key().sealer("page token").open(&sealed).unwrap(), b"after key 17");
        assert!(
            sealed
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        );
    }

    #[test]
    fn sealing_twice_shows_no_sign_of_the_same_content() {
        let sealer = key().sealer("page token");
        assert_ne!(sealer.seal(b"same")[6..], sealer.seal(b"same")[6..]);
    }

    #[test]
    fn another_purpose_or_key_opens_nothing() {
        let sealed = key().sealer("page token").seal(b"secret");
        assert_eq!(key().sealer("ticket").open(&sealed), None);
        let mut other = [7; KEY_BYTES];
        other[0] = 2;
        assert_eq!(MasterKey::from_bytes(&other).sealer("page token").open(&sealed), None);
    }

    #[test]
    fn every_altered_or_shortened_text_stays_closed() {
        let sealer = key().sealer("page token");
        let sealed = sealer.seal(b"secret");
        for at in 0..sealed.len() {
            let mut altered = sealed.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(
                sealer.open(std::str::from_utf8(&altered).unwrap()),
                None,
                "altered at {at}"
            );
            assert_eq!(sealer.open(&sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_key_reads_as_base64_of_both_alphabets_and_as_hex() {
        let mut bytes = [0xfb; KEY_BYTES];
        bytes[31] = 0xff;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [
            STANDARD.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
            hex,
            STANDARD.encode(bytes) + "\n",
        ] {
            assert_eq!(decode(&text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn short_long_garbled_and_trivial_keys_are_refused() {
        let trivial = "00".repeat(32);
        for text in [
            "",
            "AAAA",
            &"ab".repeat(31),
            &"ab".repeat(33),
            &"zz".repeat(32),
            &trivial,
        ] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_made_key_is_private_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = MasterKey::load(None, folder.path())
            .unwrap()
            .sealer("page token")
            .seal(b"x");
        let mode = fs::metadata(folder.path().join(FILE_NAME)).unwrap().mode() & 0o777;
        assert_eq!(mode, FILE_MODE);
        let again = MasterKey::load(None, folder.path()).unwrap();
        assert_eq!(again.sealer("page token").open(&sealed).unwrap(), b"x");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_and_says_so() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        MasterKey::load(None, folder.path()).unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = MasterKey::load(None, folder.path()).unwrap_err().to_string();
        assert!(error.contains("has mode 0644"), "{error}");
    }

    #[test]
    fn a_broken_key_file_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        write_key(&path, &[1; KEY_BYTES]).unwrap();
        fs::write(&path, "half a k").unwrap();
        MasterKey::load(None, folder.path()).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "half a k");
    }

    #[test]
    fn neither_key_nor_sealer_prints_itself() {
        assert_eq!(
            format!("{:?} {:?}", key(), key().sealer("page token")),
            "MasterKey(…) Sealer(…)"
        );
    }
}
