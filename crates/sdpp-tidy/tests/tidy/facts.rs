//! What the rules want to know about one Rust file.

use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, FnArg, Meta, Signature};

pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From `fn` to the closing brace, comments and blank lines included; attributes and docs above are not.
    pub(crate) lines: usize,
    /// Without `self`.
    pub(crate) parameters: usize,
    pub(crate) in_test: bool,
    /// The trait whose implementation this is part of.
    pub(crate) of_trait: Option<String>,
}

pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) fields: usize,
    /// Derives minicbor's `Encode`: its fields are given by the wire.
    pub(crate) on_the_wire: bool,
    /// A test's world may hold what it likes.
    pub(crate) in_test: bool,
}

pub(crate) struct Allow {
    pub(crate) line: usize,
    pub(crate) last_line: usize,
    pub(crate) in_test: bool,
}

#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) functions: Vec<Function>,
    pub(crate) structs: Vec<Struct>,
    pub(crate) allows: Vec<Allow>,
    /// Names of the traits defined here.
    pub(crate) traits: Vec<String>,
    pub(crate) no_std: bool,
    in_test: bool,
    of_trait: Option<String>,
}

impl Facts {
    pub(crate) fn read(path: &str, text: &str) -> Option<Self> {
        let syntax = syn::parse_file(text).ok()?;
        let mut facts = Self { in_test: is_test_path(path) || is_test(&syntax.attrs), ..Self::default() };
        facts.no_std = syntax.attrs.iter().any(|attribute| attribute.path().is_ident("no_std"));
        facts.visit_file(&syntax);
        Some(facts)
    }

    fn function(&mut self, signature: &Signature, body: &Block) {
        let line = line_of(signature.fn_token.span);
        let last = body.brace_token.span.close().end().line;
        let parameters = signature.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_)));
        self.functions.push(Function {
            name: signature.ident.to_string(),
            line,
            lines: last.saturating_sub(line).saturating_add(1),
            parameters: parameters.count(),
            in_test: self.in_test,
            of_trait: self.of_trait.clone(),
        });
    }

    /// Runs `visit` with "we are in a test" switched on if `attributes` say so.
    fn within(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        let outer = self.in_test;
        self.in_test = outer || is_test(attributes);
        visit(self);
        self.in_test = outer;
    }
}

impl<'ast> Visit<'ast> for Facts {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.within(&item.attrs, |facts| visit::visit_item_mod(facts, item));
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        // A function inside a method belongs to no trait.
        let outer = self.of_trait.take();
        self.within(&item.attrs, |facts| {
            facts.function(&item.sig, &item.block);
            visit::visit_item_fn(facts, item);
        });
        self.of_trait = outer;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within(&item.attrs, |facts| {
            facts.function(&item.sig, &item.block);
            visit::visit_impl_item_fn(facts, item);
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig, body);
        } else {
            let line = line_of(item.sig.fn_token.span);
            let parameters = item.sig.inputs.iter().filter(|input| matches!(input, FnArg::Typed(_))).count();
            let (name, in_test) = (item.sig.ident.to_string(), self.in_test);
            self.functions.push(Function { name, line, lines: 1, parameters, in_test, of_trait: None });
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        let outer = std::mem::replace(&mut self.of_trait, name.map(|segment| segment.ident.to_string()));
        self.within(&item.attrs, |facts| visit::visit_item_impl(facts, item));
        self.of_trait = outer;
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.traits.push(item.ident.to_string());
        visit::visit_item_trait(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.structs.push(Struct {
            name: item.ident.to_string(),
            line: line_of(item.struct_token.span),
            fields: item.fields.len(),
            on_the_wire: item.attrs.iter().any(derives_encode),
            in_test: self.in_test,
        });
        visit::visit_item_struct(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("allow") {
            self.allows.push(Allow {
                line: line_of(attribute.pound_token.span),
                last_line: attribute.bracket_token.span.close().end().line,
                in_test: self.in_test,
            });
        }
    }
}

fn line_of(span: Span) -> usize {
    span.start().line
}

fn is_test_path(path: &str) -> bool {
    let folders = path.split('/').any(|part| part == "tests" || part == "benches");
    folders || path.ends_with("/tests.rs")
}

/// `#[test]`, `#[tokio::test]`, `#[cfg(test)]`, but not `#[cfg(not(test))]`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let named_test = attribute.path().segments.last().is_some_and(|segment| segment.ident == "test");
        let cfg = |word: &str| attribute.path().is_ident("cfg") && mentions(&attribute.meta, word);
        named_test || (cfg("test") && !cfg("not"))
    })
}

fn derives_encode(attribute: &Attribute) -> bool {
    attribute.path().is_ident("derive") && mentions(&attribute.meta, "Encode")
}

fn mentions(meta: &Meta, name: &str) -> bool {
    let Ok(list) = meta.require_list() else {
        return false;
    };
    crate::words::has_word(&list.tokens.to_string(), name)
}
