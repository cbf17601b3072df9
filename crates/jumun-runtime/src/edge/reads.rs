//! Reads: one document, pages of documents, finders.

use super::request::{At, Handled, id, not_there, parameter};
use crate::{
    engine::failed,
    events::token::Token,
    limits::{PAGE_SIZE, PAGE_SIZE_MAX, SEEN_TIME_LIMIT},
};
use axum::{extract::Request, http::HeaderMap};
use jumun::ResourceModel;
use jumun_database::{Direction, Document, Query, ReadError};
use jumun_http::{Code, Problem, Reply, SEEN};
use std::{borrow::Cow, fmt::Write};

/// Waits until this service has applied the event that its client has seen. Bounded: a clear 503 is better than a client that
/// hangs.
async fn catch_up(at: &At, head: &HeaderMap) -> Result<(), Problem> {
    let Some(seen) = head.get(SEEN) else { return Ok(()) };
    let token = seen.to_str().ok().and_then(|token| token.parse::<Token>().ok());
    let token = token.ok_or_else(|| Problem::new(Code::Malformed, "Jumun-Seen names an event: order/0/7."))?;
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
    let _permit = at.shared.engine.admission().read().await?;
    let document = at
        .shared
        .engine
        .core()
        .database()
        .document(at.model().collection, id)
        .await
        .map_err(|error| unreadable(&error))?;
    let document = document.filter(|document| document.shown).ok_or_else(not_there)?;
    Ok(Reply::Hal(render(&at, &document)))
}

fn render(at: &At, document: &Document) -> String {
    at.model().render(document.id, &document.body, at.shared.engine.core().zone())
}

pub(super) async fn list(at: At, request: Request) -> Handled {
    catch_up(&at, request.headers()).await?;
    let wanted = Wanted::parse(at.model(), request.uri().query().unwrap_or_default())?;
    pages(&at, at.model().path, wanted, None).await
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
    Reply::Hal(links)
}

pub(super) async fn find(at: At, mut request: Request) -> Handled {
    catch_up(&at, request.headers()).await?;
    let finder = parameter(&mut request).await;
    let field = at.model().fields.iter().find(|field| field.is_finder && field.finder_name() == finder);
    let field = field.ok_or_else(|| Problem::new(Code::NotFound, format!("There is no finder {finder}.")))?;
    let query = request.uri().query().unwrap_or_default();
    let value = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| *name == field.name);
    let (_, value) = value.ok_or_else(|| invalid(&field.name, "is required"))?;
    let wanted = Wanted::parse(at.model(), query)?;
    let path = format!("{}/search/{finder}", at.model().path);
    pages(&at, &path, wanted, Some((field.name.clone(), value.into_owned()))).await
}

/// What a client requests of a list.
struct Wanted {
    page: u64,
    size: u32,
    sort: Option<(String, Direction)>,
}

impl Wanted {
    fn parse(model: &ResourceModel, query: &str) -> Result<Self, Problem> {
        let mut wanted = Self { page: 0, size: PAGE_SIZE, sort: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "page" => {
                    let page = value.parse::<u32>().map_err(|_| invalid("page", "must be a whole number from 0"))?;
                    wanted.page = page.into();
                }
                "size" => {
                    let size = value.parse::<u32>().ok().filter(|size| *size > 0);
                    wanted.size =
                        size.ok_or_else(|| invalid("size", "must be a whole number from 1"))?.min(PAGE_SIZE_MAX);
                }
                "sort" if wanted.sort.is_none() => wanted.sort = Some(Self::sort(model, &value)?),
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn sort(model: &ResourceModel, value: &str) -> Result<(String, Direction), Problem> {
        let (field, direction) = value.split_once(',').unwrap_or((value, "asc"));
        if !model.fields.iter().any(|known| known.name == field) {
            return Err(invalid("sort", format!("there is no field {field}")));
        }
        let direction = match direction.to_ascii_lowercase().as_str() {
            "asc" => Direction::Ascending,
            "desc" => Direction::Descending,
            _ => return Err(invalid("sort", "a field, then asc or desc: sort=id,desc")),
        };
        Ok((field.to_owned(), direction))
    }
}

fn invalid(field: &str, why: impl Into<Cow<'static, str>>) -> Problem {
    Problem { field: Some(field.to_owned()), ..Problem::new(Code::Invalid, why) }
}

async fn pages(at: &At, path: &str, wanted: Wanted, filter: Option<(String, String)>) -> Handled {
    let Wanted { page, size, sort } = wanted;
    let _permit = at.shared.engine.admission().read().await?;
    let rest = query_without_page(size, sort.as_ref(), filter.as_ref());
    let query = Query {
        collection: at.model().collection,
        filter: filter.map(|(field, value)| (field.into(), value)),
        sort: sort.map(|(field, direction)| (field.into(), direction)),
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
    Ok(Reply::Hal(body))
}

/// The query that the links of a list repeat: all parameters but the page.
fn query_without_page(size: u32, sort: Option<&(String, Direction)>, filter: Option<&(String, String)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("size", &size.to_string());
    if let Some((field, direction)) = sort {
        let direction = if *direction == Direction::Ascending { "asc" } else { "desc" };
        query.append_pair("sort", &format!("{field},{direction}"));
    }
    if let Some((field, value)) = filter {
        query.append_pair(field, value);
    }
    query.finish()
}

fn unreadable(error: &ReadError) -> Problem {
    let advice = match error {
        ReadError::Failed(failure) => return failed(failure),
        ReadError::TooLong => "Sort by id, or request a smaller page.",
        ReadError::Unavailable(_) => "Try again later.",
    };
    Problem::new(Code::NotDone, format!("{error}. {advice}"))
}
