//! Where a machine keeps PostgreSQL's programs.

use std::path::{Path, PathBuf};

/// A folder that has `initdb` and `postgres`.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) dir: PathBuf,
}

/// Where distributions keep them beside the path, a folder for each version: Debian's place, and Fedora's.
const PLACES: [(&str, &str); 2] = [("/usr/lib/postgresql", "bin"), ("/usr", "bin")];
/// How Fedora's folders begin.
const FEDORA: &str = "pgsql-";

impl Programs {
    /// The first on the path, else the newest where distributions keep them.
    pub(crate) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).find(|dir| has_both(dir));
        on_path.or_else(|| newest(versions())).map(|dir| Self { dir })
    }
}

fn has_both(dir: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|program| dir.join(program).is_file())
}

/// Each version's number and folder.
fn versions() -> impl Iterator<Item = (u32, PathBuf)> {
    PLACES.into_iter().flat_map(|(place, programs)| {
        let folders = std::fs::read_dir(place).into_iter().flatten().flatten();
        folders.filter_map(move |folder| {
            let name = folder.file_name();
            let version = name.to_str()?;
            let version = version.strip_prefix(FEDORA).unwrap_or(version).parse().ok()?;
            Some((version, folder.path().join(programs)))
        })
    })
}

fn newest(versions: impl Iterator<Item = (u32, PathBuf)>) -> Option<PathBuf> {
    let usable = versions.filter(|(_, dir)| has_both(dir));
    usable.max_by_key(|(version, _)| *version).map(|(_, dir)| dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_version_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let version = |name: &str, programs: &[&str]| {
            let dir = folder.path().join(name);
            std::fs::create_dir(&dir).expect("a folder");
            programs.iter().for_each(|program| {
                std::fs::write(dir.join(program), "").expect("writes");
            });
            dir
        };
        let old = version("9", &["initdb", "postgres"]);
        let good = version("15", &["initdb", "postgres"]);
        let partial = version("16", &["initdb"]);
        let all = [(9, old), (16, partial), (15, good.clone())];
        assert_eq!(newest(all.into_iter()), Some(good));
        assert_eq!(newest(std::iter::empty()), None);
    }
}
