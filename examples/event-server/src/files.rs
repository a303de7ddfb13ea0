//! The directory's files, read once at the start: small ones are kept in
//! memory with their header in front, larger ones stay open for sendfile.

use crate::http;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Files up to this size are answered by one send from memory (lwan's limit).
const SMALL: u64 = 16384;

/// One file, ready to be sent.
pub enum Entry {
    /// Header and body in one piece; the header's length.
    Small(Vec<u8>, usize),
    /// Header, the open file, its length.
    Large(Vec<u8>, File, u64),
}

/// Every file directly in the directory, by path ("/name").
pub struct Files {
    entries: HashMap<Vec<u8>, Arc<Entry>>,
    missing: Arc<Entry>,
}

impl Files {
    /// Reads the directory.
    pub fn load(dir: &Path) -> io::Result<Files> {
        let mut entries = HashMap::new();
        for item in std::fs::read_dir(dir)? {
            let item = item?;
            let meta = std::fs::metadata(item.path())?;
            if !meta.is_file() {
                continue;
            }
            let mut answer = http::head(200, meta.len());
            let head = answer.len();
            let entry = if meta.len() <= SMALL {
                answer.extend(std::fs::read(item.path())?);
                Entry::Small(answer, head)
            } else {
                Entry::Large(answer, File::open(item.path())?, meta.len())
            };
            let path = format!("/{}", item.file_name().to_string_lossy());
            entries.insert(path.into_bytes(), Arc::new(entry));
        }
        let body = b"not found\n";
        let mut missing = http::head(404, body.len() as u64);
        let head = missing.len();
        missing.extend(body);
        Ok(Files {
            entries,
            missing: Arc::new(Entry::Small(missing, head)),
        })
    }

    /// What is at a path: the file or the 404 answer.
    pub fn get(&self, path: &[u8]) -> Arc<Entry> {
        Arc::clone(self.entries.get(path).unwrap_or(&self.missing))
    }
}
