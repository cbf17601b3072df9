//! Customers who order all the time.

use super::{Answer, Client, Customer, Up, basket};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Orders without a key of its own, one after the other, until told to end; every answer.
async fn order_on(client: Client, is_over: Arc<AtomicBool>) -> Vec<Result<Answer, String>> {
    let mut answers = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        answers.push(Customer::ordering(client.clone(), None, basket("김밥", 3_000)).ask_once().await);
    }
    answers
}

/// Customers who order through the gateway all the time.
pub(crate) struct Crowd {
    is_over: Arc<AtomicBool>,
    customers: Vec<tokio::task::JoinHandle<Vec<Result<Answer, String>>>>,
}

impl Crowd {
    pub(crate) fn come(up: &Up, customers: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let customers = (0..customers).map(|_| tokio::spawn(order_on(up.client("gateway"), is_over.clone()))).collect();
        Self { is_over, customers }
    }

    pub(crate) async fn go(self) -> Vec<Result<Answer, String>> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        for customer in self.customers {
            answers.extend(customer.await.expect("a customer who does not panic"));
        }
        answers
    }
}
