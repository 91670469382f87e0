// Calls one function of a C++ program: its arguments are read as a JSON list from standard input, what
// it returns is printed as a line of JSON. Stands before the program, whose macros it must not see.
#include <bits/stdc++.h>

namespace heirloom_driver {

struct Text {
    std::string s;
    size_t i = 0;
    char next() {
        while (i < s.size() && std::isspace((unsigned char)s[i])) ++i;
        return i < s.size() ? s[i] : '\0';
    }
    bool take(char c) { return next() == c ? (++i, true) : false; }
    void want(char c) {
        if (!take(c)) throw std::runtime_error("the arguments do not fit the function");
    }
    bool word(const std::string& w) {
        next();
        return s.compare(i, w.size(), w) == 0 ? (i += w.size(), true) : false;
    }
    unsigned hex() {
        unsigned code = std::stoul(s.substr(i, 4), nullptr, 16);
        i += 4;
        return code;
    }
};

inline void utf8(std::string& to, unsigned code) {
    int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    const unsigned lead[] = {0, 0xC0, 0xE0, 0xF0};
    to += (char)(lead[more] | code >> (6 * more));
    while (more--) to += (char)(0x80 | ((code >> (6 * more)) & 63));
}

template <class T, class = void> struct Value;  // how a type is read and written

template <class T> void read(Text& in, T& value) { Value<T>::read(in, value); }
template <class T> void write(std::ostream& out, const T& value) { Value<T>::write(out, value); }

template <> struct Value<std::string> {
    static void read(Text& in, std::string& value) {
        in.want('"');
        value.clear();
        while (in.i < in.s.size() && in.s[in.i] != '"') {
            char c = in.s[in.i++];
            if (c == '\\') {
                c = in.s.at(in.i++);
                const std::string from = "nrtbf", to = "\n\r\t\b\f";
                if (c == 'u') {
                    unsigned code = in.hex();
                    if (code >= 0xD800 && code < 0xDC00 && in.s.compare(in.i, 2, "\\u") == 0) {
                        in.i += 2;
                        code = 0x10000 + ((code - 0xD800) << 10) + (in.hex() - 0xDC00);
                    }
                    utf8(value, code);
                    continue;
                }
                if (from.find(c) != std::string::npos) c = to[from.find(c)];
            }
            value += c;
        }
        in.want('"');
    }
    static void write(std::ostream& out, const std::string& value) {
        out << '"';
        for (unsigned char c : value) {
            if (c == '"' || c == '\\') out << '\\' << c;
            else if (c < 0x20) {
                char text[8];
                std::snprintf(text, sizeof text, "\\u%04x", c);
                out << text;
            } else out << c;
        }
        out << '"';
    }
};
template <> struct Value<char> {
    static void read(Text& in, char& value) {
        std::string text;
        Value<std::string>::read(in, text);
        if (text.size() != 1) throw std::runtime_error("a character is wanted");
        value = text[0];
    }
    static void write(std::ostream& out, char value) {
        Value<std::string>::write(out, std::string(1, value));
    }
};
template <> struct Value<bool> {
    static void read(Text& in, bool& value) {
        value = in.word("true");
        if (!value && !in.word("false")) throw std::runtime_error("a truth value is wanted");
    }
    static void write(std::ostream& out, bool value) { out << (value ? "true" : "false"); }
};
template <class T> struct Value<T, std::enable_if_t<std::is_arithmetic_v<T>>> {
    static void read(Text& in, T& value) {
        in.next();
        std::string digits;
        const std::string marks = "+-.0123456789eE";
        while (in.i < in.s.size() && marks.find(in.s[in.i]) != std::string::npos)
            digits += in.s[in.i++];
        if constexpr (std::is_floating_point_v<T>) value = (T)std::stold(digits);
        else if constexpr (std::is_unsigned_v<T>) value = (T)std::stoull(digits);
        else value = (T)std::stoll(digits);
    }
    static void write(std::ostream& out, T value) {
        if constexpr (std::is_floating_point_v<T>) {
            if (std::isnan(value)) out << "NaN";
            else if (std::isinf(value)) out << (value > 0 ? "Infinity" : "-Infinity");
            else out << std::setprecision(17) << (double)value;
        } else out << +value;
    }
};
template <class A, class B> struct Value<std::pair<A, B>> {
    using P = std::pair<A, B>;
    static void read(Text& in, P& value) {
        in.want('[');
        heirloom_driver::read(in, value.first);
        in.want(',');
        heirloom_driver::read(in, value.second);
        in.want(']');
    }
    static void write(std::ostream& out, const P& value) {
        out << '[';
        heirloom_driver::write(out, value.first);
        out << ',';
        heirloom_driver::write(out, value.second);
        out << ']';
    }
};
template <class... T> struct Value<std::tuple<T...>> {
    static void read(Text& in, std::tuple<T...>& value) {
        in.want('[');
        bool first = true;
        auto one = [&](auto& each) {
            if (!first) in.want(',');
            first = false;
            heirloom_driver::read(in, each);
        };
        std::apply([&](auto&... each) { (one(each), ...); }, value);
        in.want(']');
    }
    static void write(std::ostream& out, const std::tuple<T...>& value) {
        out << '[';
        bool first = true;
        auto one = [&](const auto& each) {
            if (!first) out << ',';
            first = false;
            heirloom_driver::write(out, each);
        };
        std::apply([&](const auto&... each) { (one(each), ...); }, value);
        out << ']';
    }
};
template <class T> struct Value<std::optional<T>> {
    static void read(Text& in, std::optional<T>& value) {
        if (in.word("null")) value.reset();
        else heirloom_driver::read(in, value.emplace());
    }
    static void write(std::ostream& out, const std::optional<T>& value) {
        if (value) heirloom_driver::write(out, *value);
        else out << "null";
    }
};
template <class M> struct Value<M, std::void_t<typename M::mapped_type>> {
    using Key = typename M::key_type;
    static void read(Text& in, M& value) {
        in.want('{');
        value.clear();
        if (in.take('}')) return;
        do {
            std::string name;
            heirloom_driver::read(in, name);
            Key key{};
            if constexpr (std::is_same_v<Key, std::string>) key = name;
            else if constexpr (std::is_same_v<Key, char>) key = name.at(0);
            else {
                Text inner{name};
                heirloom_driver::read(inner, key);
            }
            in.want(':');
            heirloom_driver::read(in, value[key]);
        } while (in.take(','));
        in.want('}');
    }
    static void write(std::ostream& out, const M& value) {
        out << '{';
        bool first = true;
        for (const auto& each : value) {
            if (!first) out << ',';
            first = false;
            std::ostringstream key;
            heirloom_driver::write(key, each.first);
            if (key.str()[0] == '"') out << key.str();
            else Value<std::string>::write(out, key.str());
            out << ':';
            heirloom_driver::write(out, each.second);
        }
        out << '}';
    }
};
template <class C, class = void> struct is_map : std::false_type {};
template <class C> struct is_map<C, std::void_t<typename C::mapped_type>> : std::true_type {};
template <class C, class = void> struct is_container : std::false_type {};
template <class C>
struct is_container<C, std::void_t<decltype(std::declval<C&>().insert(
                           std::declval<C&>().end(), std::declval<typename C::value_type>()))>>
    : std::bool_constant<!is_map<C>::value> {};

template <class C> struct Value<C, std::enable_if_t<is_container<C>::value>> {
    static void read(Text& in, C& value) {
        in.want('[');
        value.clear();
        if (in.take(']')) return;
        do {
            typename C::value_type each{};
            heirloom_driver::read(in, each);
            value.insert(value.end(), std::move(each));
        } while (in.take(','));
        in.want(']');
    }
    static void write(std::ostream& out, const C& value) {
        out << '[';
        bool first = true;
        for (typename C::value_type each : value) {
            if (!first) out << ',';
            first = false;
            heirloom_driver::write(out, each);
        }
        out << ']';
    }
};

template <class R, class F, class... A> int run(F function, std::tuple<A...>*) {
    Text in{std::string(std::istreambuf_iterator<char>(std::cin), {})};
    std::tuple<std::decay_t<A>...> given{};
    heirloom_driver::read(in, given);
    std::ostringstream out;
    auto all = std::index_sequence_for<A...>{};
    auto called = [&]<size_t... I>(std::index_sequence<I...>) -> R {
        return function(std::forward<A>(std::get<I>(given))...);
    };
    if constexpr (std::is_void_v<R>) {  // as LeetCode has it: the first argument is changed in place
        called(all);
        heirloom_driver::write(out, std::get<0>(given));
    } else heirloom_driver::write(out, (std::decay_t<R>)called(all));
    std::cout << '\n' << out.str() << std::endl;
    return 0;
}
template <class R, class... A> int call(R (*function)(A...)) {
    return run<R>(function, (std::tuple<A...>*)nullptr);
}
template <class R, class S, class... A> int call(R (S::*method)(A...)) {
    S object;
    auto function = [&](A... each) -> R { return (object.*method)(std::forward<A>(each)...); };
    return run<R>(function, (std::tuple<A...>*)nullptr);
}
template <class R, class S, class... A> int call(R (S::*method)(A...) const) {
    S object;
    auto function = [&](A... each) -> R { return (object.*method)(std::forward<A>(each)...); };
    return run<R>(function, (std::tuple<A...>*)nullptr);
}

}  // namespace heirloom_driver
