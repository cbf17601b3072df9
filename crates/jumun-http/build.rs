//! Takes Swagger UI out of the archive that its crate vendors: two files. Nothing comes from a network.

use std::{
    borrow::Cow,
    env, fs,
    io::{self, Cursor, Read},
    path::Path,
};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

const FILES: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo names no folder"))?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).map_err(io::Error::other)?;
    for file in FILES {
        let end = format!("/dist/{file}");
        let name = archive.file_names().flatten().find(|name| name.ends_with(&end)).map(Cow::into_owned);
        let name = name.ok_or_else(|| io::Error::other(format!("Swagger UI has no {file}")))?;
        let mut text = String::new();
        archive.by_name(&name).map_err(io::Error::other)?.read_to_string(&mut text)?;
        fs::write(Path::new(&out).join(file), text)?;
    }
    Ok(())
}
