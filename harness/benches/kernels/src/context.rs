//! The filter: answers each request itself, with the number of certificates parsed.

use std::hint::black_box;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::{Prepared, ROUNDS, WORK, Work};

#[derive(Default)]
pub(crate) struct Root {
    works: Rc<Vec<Prepared>>,
}

struct Http {
    works: Rc<Vec<Prepared>>,
}

impl Context for Root {}
impl Context for Http {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        let works: Option<Vec<Prepared>> = serde_json::from_slice::<Vec<Work>>(&bytes)
            .ok()
            .and_then(|works| works.into_iter().map(Work::prepare).collect());
        let Some(works) = works else {
            return false;
        };
        self.works = Rc::new(works);
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http {
            works: Rc::clone(&self.works),
        }))
    }
}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let number = |name| {
            let value = self.get_http_request_header(name)?;
            value.parse::<usize>().ok()
        };
        let work = number(WORK).and_then(|work| self.works.get(work));
        let Some((work, rounds)) = work.zip(number(ROUNDS)) else {
            self.send_http_response(400, vec![], None);
            return Action::Pause;
        };
        let parsed = (0..rounds).fold(0_usize, |sum, _| sum.saturating_add(black_box(work).run()));
        self.send_http_response(200, vec![], Some(parsed.to_string().as_bytes()));
        Action::Pause
    }
}
