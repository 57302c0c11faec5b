# packaging.mk: what leaves the build folder: manual pages, completion, installation, archive,
# Debian packages, the ABI, the documentation's site. Included by the Makefile.

# Where `install` puts things; Debian's packaging sets LIBDIR and PREFIX.
MANDIR ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
DOCDIR ?= $(PREFIX)/share/doc/medley

# Dates in manual pages and archives: of the last commit; of an unpacked archive, which `make dist`
# dates so too.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y Makefile)

PAGES = $B/pages/complete
pages: $(PAGES)  ## manual pages and shell completion, in $B/pages

$(PAGES): $B/medley scripts/make-pages
	@rm -rf $(@D) && mkdir -p $(@D)/man $(@D)/completion
	@perl scripts/make-pages $B/medley $(@D)
	@touch $@

# Libs.private, not Requires.private: the latter would also ask for what libmicrohttpd needs when it is
# itself linked statically, which nobody has installed.
$B/medley.pc: Makefile scripts/packaging.mk src/base/error.c FORCE
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' 'includedir=$${prefix}/include' '' \
	    'Name: medley' 'Description: Interpretable ensembles for product search' \
	    'Version: $(VERSION)' 'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -lmedley' \
	    'Libs.private: -pthread $(ALL_LDLIBS)' >$@

FORCE:

install: all $(PAGES) $B/medley.pc  ## under PREFIX (and DESTDIR): program, library, headers, pages, completion
	install -d $(addprefix $(DESTDIR),$(PREFIX)/bin $(LIBDIR)/pkgconfig $(PREFIX)/include/medley \
	    $(MANDIR)/man1 $(BASHDIR) $(ZSHDIR) $(DOCDIR)/examples/operations)
	install -m 755 $B/medley $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $B/libmedley.a $(DESTDIR)$(LIBDIR)/
	install -m 644 $B/libmedley.so $(DESTDIR)$(LIBDIR)/libmedley.so.$(VERSION)
	ln -sf libmedley.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libmedley.so
	install -m 644 include/medley/*.h $(DESTDIR)$(PREFIX)/include/medley/
	install -m 644 $B/medley.pc $(DESTDIR)$(LIBDIR)/pkgconfig/
	install -m 644 $B/pages/man/*.1 $(DESTDIR)$(MANDIR)/man1/
	install -m 644 $B/pages/completion/medley $(DESTDIR)$(BASHDIR)/
	install -m 644 $B/pages/completion/_medley $(DESTDIR)$(ZSHDIR)/
	install -m 644 examples/*.c $(DESTDIR)$(DOCDIR)/examples/
	install -m 644 examples/operations/* $(DESTDIR)$(DOCDIR)/examples/operations/

# The same names as above: what somebody else put into these folders stays.
uninstall: $(PAGES)  ## take away what install put there
	rm -f $(addprefix $(DESTDIR),$(PREFIX)/bin/medley \
	    $(addprefix $(LIBDIR)/,libmedley.a libmedley.so $(SONAME) libmedley.so.$(VERSION) \
	        pkgconfig/medley.pc) \
	    $(addprefix $(PREFIX)/,$(wildcard include/medley/*.h)) \
	    $(addprefix $(MANDIR)/man1/,$(notdir $(wildcard $B/pages/man/*.1))) \
	    $(BASHDIR)/medley $(ZSHDIR)/_medley \
	    $(addprefix $(DOCDIR)/,$(wildcard examples/*.c examples/operations/*)))
	-rmdir $(addprefix $(DESTDIR),$(PREFIX)/include/medley $(DOCDIR)/examples/operations $(DOCDIR)/examples $(DOCDIR)) 2>/dev/null

# ---- archive and Debian packages ---------------------------------------------------------------
# Of the last commit, so the same commit gives the same bytes wherever it was cloned.
ARCHIVE = build/medley-$(VERSION).tar.gz
dist:  ## the source of the last commit as build/medley-VERSION.tar.gz
	@mkdir -p build
	@[ -z "$$(git status --porcelain --untracked-files=no)" ] || echo "dist: what is not committed is left out" >&2
	@git -c tar.umask=0022 archive --format=tar --prefix=medley-$(VERSION)/ HEAD | gzip -9n >$(ARCHIVE)
	@cd build && sha256sum $(notdir $(ARCHIVE))

# Built from the archive, so that what is missing there is noticed. The tests have run before: CHECKED=1
# runs them here too. The project has no mail host yet: who uploads the packages puts a name there.
deb: dist  ## Debian packages of the last commit, in build/deb; lintian looks at them
	@scripts/install-deps --deb
	@rm -rf build/deb && mkdir -p build/deb && tar -C build/deb -xzf $(ARCHIVE)
	@cd build/deb/medley-$(VERSION) && [ "$$(dpkg-parsechangelog -S Version)" = '$(VERSION)' ] || \
	    { echo "deb: debian/changelog is not of version $(VERSION)" >&2; exit 1; }
	@cd build/deb/medley-$(VERSION) && env -u MAKEFLAGS -u MAKELEVEL -u B \
	    DEB_BUILD_OPTIONS='parallel=$(JOBS) $(if $(CHECKED),,nocheck)' dpkg-buildpackage -us -uc -b -d >../log 2>&1 || \
	    { tail -n 30 ../log >&2; exit 1; }
	@lintian --fail-on error --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog build/deb/*.changes
	@ls build/deb/*.deb

deb-check: deb  ## install, use and remove them in a fresh Debian; needs root and the mirror
	@scripts/check-deb build/deb $(BASE)

docker-check:  ## the steps of examples/operations/Dockerfile in a bare Debian, without Docker; needs root and the mirror
	@scripts/check-dockerfile examples/operations/Dockerfile $(BASE)

# ---- what programs rely on ---------------------------------------------------------------------
abi: $B/libmedley.so  ## the shared library and the headers offer all that is on record; OLD=earlier.so asks abidiff too
	@scripts/abi check $B/libmedley.so $(OLD)

abi-update: $B/libmedley.so  ## put on record what it offers now
	@scripts/abi update $B/libmedley.so

# ---- documentation -----------------------------------------------------------------------------
links:  ## links and blocks of commands in the Markdown
	@scripts/check-links

docs: $B/medley  ## what of docs/ is made from the source: api.md, settings.md
	@scripts/api-docs >docs/api.md.tmp && mv docs/api.md.tmp docs/api.md
	@$B/medley init --settings >docs/settings.md.tmp && mv docs/settings.md.tmp docs/settings.md

site: links  ## the documentation as a static site, build/site/index.html; needs python3-markdown
	@scripts/install-deps --site
	@scripts/make-site build/site

.PHONY: docker-check docs site links pages install uninstall dist deb deb-check abi abi-update FORCE
