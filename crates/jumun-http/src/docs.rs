//! The browsable page of an API: Swagger UI, whole in the program. The browser loads nothing from elsewhere, and the policy of
//! the page forbids it.

use crate::negotiation::Offer;

/// Where the OpenAPI document of a process is. The page shows it.
pub(crate) const OPENAPI: &str = "/openapi.json";

/// Where the page is; its files are below.
pub const DOCS: &str = "/docs";

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub struct DocsFile {
    /// Its path.
    pub path: &'static str,
    /// Its media type.
    pub offer: Offer,
    /// Its content.
    pub content: &'static str,
}

/// The page and its files. Their links are relative, so that a proxy may serve them below a prefix.
pub const DOCS_FILES: [DocsFile; 5] = [
    DocsFile { path: DOCS, offer: Offer::Page, content: include_str!("docs/index.html") },
    DocsFile { path: "/docs/start.js", offer: Offer::Script, content: include_str!("docs/start.js") },
    DocsFile { path: "/docs/narrow.css", offer: Offer::Style, content: include_str!("docs/narrow.css") },
    DocsFile {
        path: "/docs/swagger-ui.css",
        offer: Offer::Style,
        content: include_str!(concat!(env!("OUT_DIR"), "/swagger-ui.css")),
    },
    DocsFile {
        path: "/docs/swagger-ui-bundle.js",
        offer: Offer::Script,
        content: include_str!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js")),
    },
];

/// What the page may do: run its own scripts, and call the server that it comes from. Swagger UI sets styles of elements.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
