//! The messages in source files: the text of what makes an error or writes to
//! standard error, tests left out.

use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprCall, ExprMethodCall, FieldValue, ItemImpl, ItemMod, Lit, Macro};

/// A format string and where it stands.
pub struct Message {
    pub text: String,
    pub place: String,
}

/// Macros that say something or make an error.
const MACROS: &[&str] = &["bail", "ensure", "anyhow", "eprintln", "eprint"];
/// Methods and functions whose text is a message.
const CALLS: &[&str] = &[
    "context",
    "with_context",
    "map_err",
    "ok_or_else",
    "Err",
    "cannot",
    "refuse",
    "note",
    "SettingError",
];
/// Texts of other macros, within those.
const FORMATS: &[&str] = &["format", "write", "writeln", "concat"];
/// Errors that write themselves.
const ERRORS: &[&str] = &["SettingError", "Absent", "Status"];
/// Fewer letters are no message, but a frame for one.
const LETTERS: usize = 8;

/// Reads all files below `dir`.
pub fn read(dir: &Path, all: &mut Vec<Message>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut paths: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            let file = syn::parse_file(&text).expect("Rust");
            let mut reader = Reader {
                all: &mut *all,
                place: path.display().to_string(),
                inside: 0,
            };
            reader.visit_file(&file);
        }
    }
}

struct Reader<'a> {
    all: &'a mut Vec<Message>,
    place: String,
    /// How many of [`CALLS`] the expression stands in.
    inside: usize,
}

impl Reader<'_> {
    fn add(&mut self, text: &str) {
        let text = text.strip_prefix("esca: ").unwrap_or(text).trim_end();
        let mut holes = 0;
        let letters = text.chars().filter(|c| {
            holes += i32::from(*c == '{') - i32::from(*c == '}');
            holes == 0 && c.is_alphabetic()
        });
        if letters.count() >= LETTERS {
            self.all.push(Message {
                text: text.into(),
                place: self.place.clone(),
            });
        }
    }

    fn within(&mut self, is: bool, look: impl FnOnce(&mut Self)) {
        self.inside += usize::from(is);
        look(self);
        self.inside -= usize::from(is);
    }
}

fn of_tests(attributes: &[Attribute]) -> bool {
    let cfg = attributes.iter().filter(|a| a.path().is_ident("cfg"));
    cfg.filter_map(|a| a.parse_args::<syn::Ident>().ok())
        .any(|i| i == "test")
}

fn last(path: &syn::Path) -> String {
    path.segments
        .last()
        .map_or_else(String::new, |s| s.ident.to_string())
}

/// The first text among a macro's own tokens; of ensure!, behind what it
/// ensures.
fn first_text(m: &Macro) -> Option<String> {
    let mut tokens = m.tokens.clone().into_iter();
    if m.path.is_ident("ensure") {
        tokens.find(|t| t.to_string() == ",");
    }
    tokens.find_map(|t| match syn::parse2::<Lit>(t.into()) {
        Ok(Lit::Str(s)) => Some(s.value()),
        _ => None,
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, m: &'ast ItemMod) {
        if !of_tests(&m.attrs) {
            visit::visit_item_mod(self, m);
        }
    }

    fn visit_item_impl(&mut self, i: &'ast ItemImpl) {
        let is = i
            .trait_
            .as_ref()
            .is_some_and(|(_, t, _)| last(t) == "Display")
            && matches!(&*i.self_ty, syn::Type::Path(p) if ERRORS.contains(&last(&p.path).as_str()));
        self.within(is, |r| visit::visit_item_impl(r, i));
    }

    fn visit_macro(&mut self, m: &'ast Macro) {
        let name = last(&m.path);
        let Some(text) = first_text(m) else { return };
        let says = MACROS.contains(&name.as_str());
        let within = self.inside > 0 && FORMATS.contains(&name.as_str());
        if says || within || text.starts_with("esca: ") {
            self.add(&text);
        }
    }

    fn visit_expr_method_call(&mut self, c: &'ast ExprMethodCall) {
        self.visit_expr(&c.receiver);
        let is = CALLS.contains(&c.method.to_string().as_str());
        self.within(is, |r| c.args.iter().for_each(|a| r.visit_expr(a)));
    }

    fn visit_expr_call(&mut self, c: &'ast ExprCall) {
        let is = matches!(&*c.func, Expr::Path(p) if CALLS.contains(&last(&p.path).as_str()));
        self.within(is, |r| visit::visit_expr_call(r, c));
    }

    fn visit_field_value(&mut self, f: &'ast FieldValue) {
        let is = matches!(&f.member, syn::Member::Named(n) if n == "why");
        self.within(is, |r| visit::visit_field_value(r, f));
    }

    fn visit_lit(&mut self, l: &'ast Lit) {
        if let (true, Lit::Str(s)) = (self.inside > 0, l) {
            self.add(&s.value());
        }
    }
}

#[test]
fn messages_are_found_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = r#"
        fn f() -> Result<()> {
            println!("this is output");
            ensure!(a.contains("no message") && b != "nothing to say", "one thing {} is wrong", x);
            let y = g("not a message").with_context(|| format!("cannot do {y}"))?;
            eprintln!("esca: {e}; going on without");
            let why = Refusal { why: match z { _ => "it is refused".into() } };
            Err(format!("a bad value {}", "of no meaning"))
        }
        impl fmt::Display for Absent { fn fmt() { f.write_str("it is absent") } }
        #[cfg(test)] mod tests { fn g() { bail!("a test's message") } }
    "#;
    fs::write(dir.path().join("a.rs"), text).expect("written");
    let mut all = Vec::new();
    read(dir.path(), &mut all);
    let all: Vec<_> = all.iter().map(|m| m.text.as_str()).collect();
    assert_eq!(
        all,
        [
            "one thing {} is wrong",
            "cannot do {y}",
            "{e}; going on without",
            "it is refused",
            "a bad value {}",
            "it is absent"
        ]
    );
}
