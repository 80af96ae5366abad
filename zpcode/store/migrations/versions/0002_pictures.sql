-- image, mark: names of files as the registry file had them. …_developed: {"source": …, "picture": {"digest": …, "width": …,
-- "height": …, "widths": […]}}, NULL where there is none. Addresses elsewhere are given up: no third party on the page.

UPDATE product SET image = '';
ALTER TABLE product
    ADD COLUMN mark             text NOT NULL DEFAULT '',
    ADD COLUMN image_developed  jsonb,
    ADD COLUMN mark_developed   jsonb;
