//! Course enrollment, specified by example.

mod the_system {
    #[test]
    fn has_nothing_wrong_with_it() {
        assert_eq!(course_enrollment::system().check(), []);
    }
}
