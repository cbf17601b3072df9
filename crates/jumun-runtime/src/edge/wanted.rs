//! What a client requests of a list: the query of its URL.
//!
//! A parameter that is known here comes once; only `sort` may come several times. The parameter of another finder is refused.
//! Other parameters are ignored, as unknown fields of a body are.

use super::request::invalid;
use jumun::ResourceModel;
use jumun_database::Direction;
use jumun_http::{
    Code, Problem,
    limits::{PAGE_SIZE, PAGE_SIZE_MAX},
};

/// What a client requests of a list.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) page: u64,
    pub(super) size: u32,
    /// The fields to sort by, the first one first.
    pub(super) sort: Vec<(String, Direction)>,
    /// The field of the finder and its value.
    pub(super) filter: Option<(String, String)>,
}

impl Wanted {
    /// Reads a query. `finder` is the field of the finder that was called.
    pub(super) fn parse(model: &ResourceModel, query: &str, finder: Option<&str>) -> Result<Self, Problem> {
        let (mut page, mut size) = (None, None);
        let mut wanted = Self { page: 0, size: PAGE_SIZE, sort: Vec::new(), filter: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = form_urlencoded::parse(pair.as_bytes()).next() else { continue };
            match &*name {
                "page" => {
                    let why = || invalid("page", format!("must be a whole number from 0 to {}", u32::MAX));
                    once(&mut page, "page", value.parse::<u32>().map_err(|_| why())?)?;
                }
                "size" => {
                    let number = at_most(PAGE_SIZE_MAX, &value).filter(|size| *size > 0);
                    once(&mut size, "size", number.ok_or_else(|| invalid("size", "must be a whole number from 1"))?)?;
                }
                "sort" => wanted.sort_by(model, &value)?,
                name if Some(name) == finder => {
                    once(&mut wanted.filter, name, (name.to_owned(), decoded(pair, &value)?))?;
                }
                name => {
                    // Ignored, it would seem to select, and all would be answered.
                    if let Some(field) = model.fields.iter().find(|field| field.is_finder && field.name == name) {
                        let (path, finder) = (model.path, field.finder_name());
                        return Err(invalid(name, format!("is the parameter of {path}/search/{finder}")));
                    }
                }
            }
        }
        wanted.page = page.unwrap_or_default().into();
        wanted.size = size.unwrap_or(PAGE_SIZE);
        Ok(wanted)
    }

    /// Adds `price,desc`, or several fields of one direction: `storeName,price,desc`.
    fn sort_by(&mut self, model: &ResourceModel, value: &str) -> Result<(), Problem> {
        let (fields, direction) = match value.rsplit_once(',') {
            Some((fields, word)) if word.eq_ignore_ascii_case("asc") => (fields, Direction::Ascending),
            Some((fields, word)) if word.eq_ignore_ascii_case("desc") => (fields, Direction::Descending),
            _ => (value, Direction::Ascending),
        };
        for field in fields.split(',') {
            if !model.fields.iter().any(|known| known.name == field) {
                let why = format!("there is no field {field}; write a field, then asc or desc: sort=id,desc");
                return Err(invalid("sort", why));
            }
            if self.sort.iter().any(|(known, _)| known == field) {
                return Err(invalid("sort", format!("the field {field} occurs twice")));
            }
            self.sort.push((field.to_owned(), direction));
        }
        Ok(())
    }

    /// The query that the links of a list repeat: all parameters but the page.
    pub(super) fn query_without_page(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("size", &self.size.to_string());
        for (field, direction) in &self.sort {
            let direction = if *direction == Direction::Ascending { "asc" } else { "desc" };
            query.append_pair("sort", &format!("{field},{direction}"));
        }
        if let Some((field, value)) = &self.filter {
            query.append_pair(field, value);
        }
        query.finish()
    }
}

/// A whole number, or `most` if it is larger, however large it is.
fn at_most(most: u32, text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(most).min(most))
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Problem> {
    match place.replace(value) {
        Some(_) => Err(invalid(name, "occurs twice")),
        None => Ok(()),
    }
}

/// The value of a finder in the spelling that stored texts have.
fn decoded(pair: &str, value: &str) -> Result<String, Problem> {
    // The decoder puts this in place of what is not UTF-8. A client may mean the character itself.
    let is_meant = || pair.to_ascii_uppercase().contains("%EF%BF%BD") || pair.contains(char::REPLACEMENT_CHARACTER);
    if value.contains(char::REPLACEMENT_CHARACTER) && !is_meant() {
        return Err(Problem::new(Code::Malformed, "The query is not UTF-8."));
    }
    Ok(jumun_text::canonical_or_same(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Ascending, Descending};

    fn parse(query: &str, finder: Option<&str>) -> Result<Wanted, Problem> {
        let system = food_delivery::system();
        Wanted::parse(&system.service("order").expect("a service").resources[0], query, finder)
    }

    fn refused(query: &str) -> (String, String) {
        let problem = parse(query, Some("storeName")).expect_err(query);
        (problem.field.unwrap_or_default(), problem.detail.into_owned())
    }

    #[test]
    fn several_fields_sort_and_stay_in_the_links() {
        let sorted = |query: &str| parse(query, None).expect(query).sort;
        let by =
            |keys: &[(&str, Direction)]| keys.iter().map(|(name, it)| ((*name).to_owned(), *it)).collect::<Vec<_>>();
        assert_eq!(sorted("sort=price,desc&sort=id,desc"), by(&[("price", Descending), ("id", Descending)]));
        assert_eq!(
            sorted("sort=storeName,price,DESC&sort=id"),
            by(&[("storeName", Descending), ("price", Descending), ("id", Ascending),])
        );
        assert_eq!(sorted("sort=price"), by(&[("price", Ascending)]));
        assert_eq!(sorted("page=1&&other=1&other=2"), by(&[]));
        let links = parse("sort=price,desc&sort=id,desc&size=3", None).expect("a query").query_without_page();
        assert_eq!(links, "size=3&sort=price%2Cdesc&sort=id%2Cdesc");
        assert_eq!(parse(&links, None).expect("a query").query_without_page(), links);
    }

    #[test]
    fn what_comes_twice_is_refused() {
        for (query, field) in [
            ("page=1&page=2", "page"),
            ("page=1&page=1", "page"),
            ("size=1&size=2", "size"),
            ("storeName=a&storeName=b", "storeName"),
            ("store%4Eame=a&storeName=b", "storeName"),
        ] {
            assert_eq!(refused(query), (field.to_owned(), "occurs twice".to_owned()), "{query}");
        }
        assert_eq!(refused("sort=price,asc&sort=price,desc").1, "the field price occurs twice");
        for query in
            ["sort=", "sort=nobody", "sort=price,up", "sort=price,desc,ignorecase", "sort=,desc", "sort=price,"]
        {
            assert_eq!(refused(query).0, "sort", "{query}");
        }
        for query in ["page=-1", "page=1.0", "page=", "page=4294967296", "size=0", "size=ten", "size="] {
            assert!(["page", "size"].contains(&&*refused(query).0), "{query}");
        }
    }

    #[test]
    fn the_parameter_of_a_finder_is_for_that_finder() {
        let problem = parse("storeName=a", None).expect_err("a list");
        let detail = "is the parameter of /orders/search/findByStoreName";
        assert_eq!((problem.field.as_deref(), &*problem.detail), (Some("storeName"), detail));
        assert!(parse("page=0&colour=red", None).is_ok());
        for size in ["1000", "1001", "5000", "99999999999999999999"] {
            let clamped = parse(&format!("size={size}"), None).expect("a size");
            assert_eq!(clamped.query_without_page(), "size=1000");
        }
    }

    #[test]
    fn finders_compare_texts_as_people_see_them() {
        let filter = |query: &str| parse(query, Some("storeName")).map(|wanted| wanted.filter.map(|it| it.1));
        for query in ["storeName=caf%C3%A9", "storeName=cafe%CC%81", "storeName=+caf%C3%A9%E2%80%8B+"] {
            assert_eq!(filter(query), Ok(Some("café".to_owned())), "{query}");
        }
        assert_eq!(filter("storeName="), Ok(Some(String::new())));
        assert_eq!(filter("storeName=%EF%BF%BD"), Ok(Some("\u{fffd}".to_owned())));
        assert_eq!(filter("storeName=%FF").expect_err("not UTF-8").code, Code::Malformed);
        assert_eq!(filter("page=1"), Ok(None));
    }
}
