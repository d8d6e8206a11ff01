//! Reads what an XML answer says, element by element.

/// The texts of all elements `name` of a document whose names and keys need no unescaping.
pub(crate) fn texts<'x>(xml: &'x str, name: &'x str) -> impl Iterator<Item = &'x str> {
    let mut rest = xml;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('<')?;
            rest = after;
            if let Some(inside) = after.strip_prefix(name).and_then(|after| after.strip_prefix('>')) {
                return inside.split('<').next();
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_listing_come_in_order() {
        let xml = "<L><KeyCount>2</KeyCount><Contents><Key>a</Key></Contents><Contents><Key>b/c</Key></Contents></L>";
        assert_eq!(texts(xml, "Key").collect::<Vec<_>>(), ["a", "b/c"]);
        assert_eq!(texts("<Key>cut", "Key").collect::<Vec<_>>(), ["cut"]);
    }
}
