//! A book and its stock. Copies that rentals hold are not in stock.

use crate::events::{Event, EventKind as On};
use jumun::prelude::*;

/// Ask whether there is a book. It changes nothing.
pub const LOOK: Ask<Look, Book> = Ask::post("book", "/books", |look| look.book_id);

jumun::documents! {
    /// The book that may be there.
    pub struct Look {
        /// The book.
        pub book_id: Id<Book>,
    }

    /// A book.
    pub struct Book {
        /// The id.
        pub id: Id<Book>,
        /// The title.
        pub name: Name,
        /// The price of renting one copy.
        pub price: Won,
        /// The number of copies on the shelf.
        pub stock: Count,
        /// The number of copies that the shop owns: on the shelf or held by rentals.
        pub owned: Count,
        /// Where its picture is.
        pub image_url: Option<Name>,
    }

    /// What makes a book.
    pub struct NewBook {
        /// The title.
        pub name: Name,
        /// The price of renting one copy.
        pub price: Won,
        /// The number of copies; none by default.
        #[serde(default)]
        pub stock: Count,
        /// Where its picture is.
        pub image_url: Option<Name>,
    }

    /// What changes of a book; the rest stays.
    #[derive(Default)]
    pub struct Change {
        /// The title.
        pub name: Option<Name>,
        /// The price of renting one copy, for later rentals.
        pub price: Option<Won>,
        /// The number of copies on the shelf. More are bought in, fewer are written off; rentals keep what they hold.
        pub stock: Option<Count>,
        /// Where its picture is.
        pub image_url: Option<Name>,
    }

    /// Copies are bought in, or written off.
    pub struct StockAdded {
        /// The book.
        pub book_id: Id<Book>,
        /// The number of copies; negative where they are written off.
        pub qty: i64,
        /// The book after that.
        #[serde(flatten)]
        pub book: Book,
    }
}

impl Answers<Look> for Book {
    fn answers(&self, look: &Look) -> bool {
        self.id == look.book_id
    }
}

/// The commands of a book.
#[derive(Debug, Clone)]
pub enum Command {
    /// The shop buys a new book.
    Add(NewBook),
    /// The shop changes it.
    Change(Change),
    /// A reader looks whether it is there.
    Look,
    /// The reader did not need to know.
    Forget,
}

impl Book {
    /// The event that a book begins with.
    pub fn added(id: Id<Book>, NewBook { name, price, stock, image_url }: NewBook) -> Event {
        let book = Book { id, name, price, stock, owned: stock, image_url };
        Event::StockAdded(StockAdded { book_id: id, qty: stock.get(), book })
    }

    /// What a new database begins with: books 1 to 5.
    pub fn seed() -> Vec<Event> {
        let names = ["TV", "MASK", "NOTEBOOK", "TABLE", "CLOCK"].into_iter().filter_map(Name::new);
        let book = |(name, nth): (Name, i64)| {
            let (price, stock) = (Won::new(nth * 10_000)?, Count::new(nth * 10)?);
            Some(Book::added(Id::new(nth)?, NewBook { name, price, stock, image_url: None }))
        };
        names.zip(1..).filter_map(book).collect()
    }

    fn changed(&self, Change { name, price, stock: _, image_url }: Change) -> Book {
        Book {
            name: name.unwrap_or_else(|| self.name.clone()),
            price: price.unwrap_or(self.price),
            image_url: image_url.or_else(|| self.image_url.clone()),
            ..self.clone()
        }
    }

    /// With so many copies more on the shelf.
    fn with(self, copies: i64) -> Book {
        let stock = self.stock.get().checked_add(copies).and_then(Count::new);
        Book { stock: stock.unwrap_or(self.stock), ..self }
    }
}

impl Aggregate for Book {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[On::StockAdded, On::BookChanged, On::StockTaken, On::StockReturned];

    fn concerns(event: &Event) -> Option<Id<Book>> {
        match event {
            Event::StockAdded(added) => Some(added.book_id),
            Event::BookChanged(book) => Some(book.id),
            Event::StockTaken(taken) => Some(taken.book_id),
            Event::StockReturned(returned) => Some(returned.book_id),
            _ => None,
        }
    }

    fn decide(book: Option<&Book>, command: Command, ctx: &Context<'_, Book>) -> Decision<Event> {
        match (command, book) {
            (Command::Add(new), None) => emit(Book::added(ctx.id, new)),
            (Command::Add(_), Some(_)) => conflict("this book is there already"),
            (Command::Change(change), Some(book)) => {
                let stock = change.stock.unwrap_or(book.stock);
                let qty = stock.get() - book.stock.get();
                let Some(owned) = Count::new(book.owned.get() + qty) else {
                    return invalid("stock", "is too large beside the copies that rentals hold");
                };
                let after = Book { stock, owned, ..book.changed(change) };
                if qty != 0 {
                    emit(Event::StockAdded(StockAdded { book_id: book.id, qty, book: after }))
                } else if after == *book {
                    nothing()
                } else {
                    emit(Event::BookChanged(after))
                }
            }
            (Command::Change(_), None) => not_found(),
            (Command::Look, None) => invalid("bookId", "there is no such book"),
            (Command::Look, Some(_)) | (Command::Forget, _) => nothing(),
        }
    }

    fn evolve(book: Option<Book>, event: &Event) -> Option<Book> {
        match event {
            Event::StockAdded(added) => Some(added.book.clone()),
            Event::BookChanged(changed) => Some(changed.clone()),
            Event::StockTaken(taken) => book.map(|book| book.with(-taken.qty.get())),
            Event::StockReturned(returned) => book.map(|book| book.with(returned.qty.get())),
            _ => book,
        }
    }
}
