//! Reads: one document, pages of documents, finders.

use super::{
    request::{At, Handled, id, invalid, not_there, parameter, single},
    wanted::Wanted,
};
use crate::{engine::failed, events::token::Token, limits::SEEN_TIME_LIMIT};
use axum::{extract::Request, http::HeaderMap};
use jumun_database::{Document, Query, ReadError};
use jumun_http::{Code, Problem, Reply, SEEN, no_event};
use std::fmt::Write;

/// Waits until this service has applied the event that its client has seen. Bounded: a clear 503 is better than a client that
/// hangs.
async fn catch_up(at: &At, head: &HeaderMap) -> Result<(), Problem> {
    let Some(seen) = single(head, SEEN)? else { return Ok(()) };
    let token = seen.to_str().ok().and_then(|token| token.parse::<Token>().ok());
    let token = token.filter(|token| at.shared.services.contains(&*token.service)).ok_or_else(no_event)?;
    let Some(consumer) = &at.shared.consumer else { return Ok(()) };
    let listens = &at.shared.engine.core().model().listens;
    if !listens.iter().any(|event| event.source == token.service) || consumer.has_applied(&token, SEEN_TIME_LIMIT).await
    {
        return Ok(()); // an event of another source needs no wait
    }
    Err(Problem::new(
        Code::NotDone,
        format!("This service has not applied {token} within {SEEN_TIME_LIMIT:?}. Try again later."),
    ))
}

pub(super) async fn show(at: At, mut request: Request) -> Handled {
    catch_up(&at, request.headers()).await?;
    let id = id(&mut request).await?;
    Ok(Reply::Found(render(&at, &document(&at, id).await?)))
}

/// The document of this id; a problem if there is none that is shown.
pub(super) async fn document(at: &At, id: i64) -> Result<Document, Problem> {
    let _permit = at.shared.engine.admission().read().await?;
    let found = at.shared.engine.core().database().document(at.model().collection, id).await;
    let found = found.map_err(|error| unreadable(&error))?;
    found.filter(|document| document.shown).ok_or_else(not_there)
}

fn render(at: &At, document: &Document) -> String {
    at.model().render(document.id, &document.body, at.shared.engine.core().zone())
}

pub(super) async fn list(at: At, request: Request) -> Handled {
    catch_up(&at, request.headers()).await?;
    let wanted = Wanted::parse(at.model(), request.uri().query().unwrap_or_default(), None)?;
    pages(&at, at.model().path, wanted).await
}

/// The finders of a resource.
pub(super) fn finders(at: &At) -> Reply {
    let path = at.model().path;
    let mut links = format!(r#"{{"_links":{{"self":{{"href":"{path}/search"}}"#);
    for field in at.model().fields.iter().filter(|field| field.is_finder) {
        let (finder, name) = (field.finder_name(), &field.name);
        let _ = write!(links, r#","{finder}":{{"href":"{path}/search/{finder}{{?{name}}}","templated":true}}"#);
    }
    links.push_str("}}");
    Reply::Found(links)
}

pub(super) async fn find(at: At, mut request: Request) -> Handled {
    catch_up(&at, request.headers()).await?;
    let finder = parameter(&mut request).await;
    let field = at.model().fields.iter().find(|field| field.is_finder && field.finder_name() == finder);
    let field = field.ok_or_else(|| Problem::new(Code::NotFound, format!("There is no finder {finder}.")))?;
    let wanted = Wanted::parse(at.model(), request.uri().query().unwrap_or_default(), Some(&field.name))?;
    if wanted.filter.is_none() {
        return Err(invalid(&field.name, "is required"));
    }
    let path = format!("{}/search/{finder}", at.model().path);
    pages(&at, &path, wanted).await
}

async fn pages(at: &At, path: &str, wanted: Wanted) -> Handled {
    let _permit = at.shared.engine.admission().read().await?;
    let rest = wanted.query_without_page();
    let Wanted { page, size, sort, filter } = wanted;
    let query = Query {
        collection: at.model().collection,
        filter: filter.map(|(field, value)| (field.into(), value)),
        sort: sort.into_iter().map(|(field, direction)| (field.into(), direction)).collect(),
        offset: page * u64::from(size),
        size,
    };
    let found = at.shared.engine.core().database().page(query).await.map_err(|error| unreadable(&error))?;
    let pages = found.total.div_ceil(u64::from(size));
    let last = pages.saturating_sub(1);

    let mut body = format!(r#"{{"_embedded":{{"{}":["#, at.model().collection);
    for (nth, document) in found.documents.iter().enumerate() {
        if nth > 0 {
            body.push(',');
        }
        body.push_str(&render(at, document));
    }
    body.push_str("]},\"_links\":{");
    let mut link = |comma: &str, name: &str, page: u64| {
        let _ = write!(body, r#"{comma}"{name}":{{"href":"{path}?page={page}&{rest}"}}"#);
    };
    link("", "self", page);
    link(",", "first", 0);
    if page > 0 {
        link(",", "prev", (page - 1).min(last));
    }
    if page < last {
        link(",", "next", page + 1);
    }
    link(",", "last", last);
    let total = found.total;
    let _ =
        write!(body, r#"}},"page":{{"size":{size},"totalElements":{total},"totalPages":{pages},"number":{page}}}}}"#);
    Ok(Reply::Found(body))
}

fn unreadable(error: &ReadError) -> Problem {
    let advice = match error {
        ReadError::Failed(failure) => return failed(failure),
        ReadError::TooLong => "Sort by id, or request a smaller page.",
        ReadError::Unavailable(_) => "Try again later.",
    };
    Problem::new(Code::NotDone, format!("{error}. {advice}"))
}
