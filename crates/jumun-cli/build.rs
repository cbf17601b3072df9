//! Takes the pages of `docs/errors` into the program, for `jumun explain`. Whoever adds a page lists it nowhere.

use std::{env, fmt::Write, fs, io, path::Path};

fn main() -> io::Result<()> {
    let missing = || io::Error::other("cargo names no folder");
    // As the program runs, not as it was compiled: a copy of the repository has pages of its own.
    let folder = Path::new(&env::var_os("CARGO_MANIFEST_DIR").ok_or_else(missing)?).join("../../docs/errors");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path().canonicalize()?;
        println!("cargo::rerun-if-changed={}", path.display());
        let code = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        if path.extension().is_some_and(|extension| extension == "md") && code != "README" {
            pages.push((code, path));
        }
    }
    pages.sort();
    let mut list = "&[\n".to_owned();
    for (code, path) in pages {
        writeln!(list, "    ({code:?}, include_str!({:?})),", path.display().to_string()).map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    let out = env::var_os("OUT_DIR").ok_or_else(missing)?;
    fs::write(Path::new(&out).join("pages.rs"), list)
}
